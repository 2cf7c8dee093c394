//! One batch as tensors.

use std::{
    ffi::{c_int, c_void},
    sync::Arc,
};

use yarn_ml_shm::{FrameRef, dense};

use crate::api::{Api, Handle, Status, data_type};

/// What a column is, one letter each; upper case for nullable ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    pub string: bool,
    pub nullable: bool,
}

pub fn layout(letters: &str) -> Result<Vec<Column>, String> {
    letters
        .chars()
        .map(|letter| match letter.to_ascii_lowercase() {
            'f' | 's' => {
                Ok(Column { string: letter.eq_ignore_ascii_case(&'s'), nullable: letter.is_ascii_uppercase() })
            }
            other => Err(format!("the layout `{letters}` has the letter `{other}`; allowed are f and s")),
        })
        .collect()
}

/// Where outputs go.
pub struct Outputs<'a> {
    pub api: &'static Api,
    pub context: Handle,
    pub status: &'a Status,
    pub next: c_int,
}

impl Outputs<'_> {
    pub fn scalar(&mut self, value: i64) -> Result<(), String> {
        let tensor = self.allocate(data_type::INT64, &[], 8)?;
        // SAFETY: TensorFlow allocated eight bytes, aligned for any type.
        unsafe { (self.api.TF_TensorData)(tensor).cast::<i64>().write(value) };
        // SAFETY: the tensor is ours to give back; the output keeps its own reference.
        unsafe { (self.api.TF_DeleteTensor)(tensor) };
        Ok(())
    }

    pub fn empty(&mut self, data_type: c_int) -> Result<(), String> {
        let tensor = self.allocate(data_type, &[0], 0)?;
        // SAFETY: as above.
        unsafe { (self.api.TF_DeleteTensor)(tensor) };
        Ok(())
    }

    /// The columns of a frame. Fixed-size ones point into it and hold it; strings are copied, since TensorFlow's have a form of
    /// their own.
    pub fn batch(&mut self, frame: FrameRef, layout: &[Column], types: &[c_int]) -> Result<(), String> {
        let rows = frame.header().rows as usize;
        let buffers = dense::buffers(frame.bytes()).map_err(|e| e.to_string())?;
        let wanted: usize = layout.iter().map(|c| 1 + usize::from(c.string) + usize::from(c.nullable)).sum();
        if buffers.len() != wanted {
            return Err(format!(
                "the batch has {} buffers, and the columns that were declared need {wanted}",
                buffers.len()
            ));
        }
        let frame = Arc::new(frame);
        let (mut buffers, mut types) = (buffers.into_iter(), types.iter().copied());
        // Both are as long as `wanted` and the op's own types say; the counts were compared.
        let mut buffer = || buffers.next().ok_or_else(|| "a buffer is missing".to_owned());
        let mut data_type = || types.next().ok_or_else(|| "a type is missing".to_owned());
        for column in layout {
            if column.string {
                let (offsets, text) = (buffer()?, buffer()?);
                data_type()?;
                self.strings(
                    &frame.bytes()[offsets.offset..][..offsets.length],
                    &frame.bytes()[text.offset..][..text.length],
                    rows,
                )?;
            } else {
                self.fixed(&frame, buffer()?, data_type()?, rows)?;
            }
            if column.nullable {
                self.fixed(&frame, buffer()?, data_type()?, rows)?;
            }
        }
        Ok(())
    }

    fn fixed(
        &mut self,
        frame: &Arc<FrameRef>,
        buffer: dense::Buffer,
        data_type: c_int,
        rows: usize,
    ) -> Result<(), String> {
        let width = width(data_type)?;
        if buffer.length != rows * width {
            return Err(format!("a column of {rows} rows has {} bytes; {width} a row are due", buffer.length));
        }
        if rows == 0 {
            return self.empty(data_type);
        }
        let dimensions = [rows as i64];
        let held = Arc::into_raw(frame.clone());
        // JUSTIFICATION: handing over memory without a copy is what this op is for.
        // SAFETY: the buffer lies within the frame, which `held` keeps until TensorFlow calls `release`; the payload is not written
        // by anybody in the meantime. Writes by TensorFlow are allowed: the frame is the consumer's.
        let tensor = unsafe {
            let data = frame.as_ptr().add(buffer.offset).cast::<c_void>();
            (self.api.TF_NewTensor)(
                data_type,
                dimensions.as_ptr(),
                1,
                data,
                buffer.length,
                release,
                held.cast_mut().cast(),
            )
        };
        let index = self.index();
        // SAFETY: tensor and status are ours; the output takes its own reference.
        unsafe {
            (self.api.TF_SetOutput)(self.context, index, tensor, self.status.handle);
            (self.api.TF_DeleteTensor)(tensor);
        }
        self.status.check("failed to set an output")
    }

    fn strings(&mut self, offsets: &[u8], text: &[u8], rows: usize) -> Result<(), String> {
        if offsets.len() != (rows + 1) * 8 {
            return Err(format!("a column of {rows} strings has {} bytes of offsets", offsets.len()));
        }
        let offset = |row: usize| {
            let bytes: [u8; 8] = offsets[row * 8..row * 8 + 8].try_into().unwrap_or_default();
            usize::try_from(i64::from_le_bytes(bytes)).unwrap_or(usize::MAX)
        };
        // sizeof(TF_TString).
        const STRING_BYTES: usize = 24;
        let tensor = self.allocate(data_type::STRING, &[rows as i64], rows * STRING_BYTES)?;
        // SAFETY: TensorFlow allocated that many strings, made and empty.
        let data = unsafe { (self.api.TF_TensorData)(tensor) }.cast::<u8>();
        let mut wrong = None;
        for row in 0..rows {
            let Some(part) = text.get(offset(row)..offset(row + 1)) else {
                wrong = Some(row);
                break;
            };
            // SAFETY: the row is below the number of strings, and the text is copied during the call.
            unsafe { (self.api.TF_StringCopy)(data.add(row * STRING_BYTES).cast(), part.as_ptr().cast(), part.len()) };
        }
        // SAFETY: as in `scalar`.
        unsafe { (self.api.TF_DeleteTensor)(tensor) };
        match wrong {
            None => Ok(()),
            Some(row) => Err(format!("string {row} of a batch lies outside of its {} bytes", text.len())),
        }
    }

    fn allocate(&mut self, data_type: c_int, dimensions: &[i64], bytes: usize) -> Result<Handle, String> {
        let index = self.index();
        // SAFETY: context and status are valid through the call, and so are the dimensions.
        let tensor = unsafe {
            (self.api.TF_AllocateOutput)(
                self.context,
                index,
                data_type,
                dimensions.as_ptr(),
                dimensions.len() as c_int,
                bytes,
                self.status.handle,
            )
        };
        self.status.check("failed to allocate an output")?;
        if tensor.is_null() { Err("TensorFlow allocated nothing".to_owned()) } else { Ok(tensor) }
    }

    fn index(&mut self) -> c_int {
        self.next += 1;
        self.next - 1
    }
}

/// TensorFlow is done with a column; with the last one the frame goes back.
unsafe extern "C" fn release(_data: *mut c_void, _length: usize, held: *mut c_void) {
    // SAFETY: made by `Arc::into_raw` in `fixed`, once for each tensor.
    drop(unsafe { Arc::from_raw(held.cast::<FrameRef>()) });
}

/// Bytes of a value.
fn width(data_type: c_int) -> Result<usize, String> {
    match data_type {
        1 | 3 => Ok(4),
        2 | 9 => Ok(8),
        10 => Ok(1),
        other => {
            Err(format!("the data type {other} has no columns here; allowed are float, double, int32, int64 and bool"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_is_read_letter_by_letter() {
        assert_eq!(
            layout("fS").unwrap(),
            [Column { string: false, nullable: false }, Column { string: true, nullable: true }]
        );
        assert!(layout("fx").unwrap_err().contains('x'));
    }
}
