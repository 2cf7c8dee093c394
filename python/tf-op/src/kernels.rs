//! The two kernels and their registration.

use std::{
    ffi::{CStr, c_int},
    panic::{AssertUnwindSafe, catch_unwind},
    ptr::null_mut,
    sync::{Arc, PoisonError},
    time::Duration,
};

use yarn_ml_shm::{Kind, Next, RingError};

use crate::{
    api::{Api, Handle, Status, api, code},
    batch::{Column, Outputs, layout},
    rings::{Shared, find},
};

/// Longest wait within the op: TensorFlow's executor looks for cancellation between ops, never inside of one.
const WAIT: Duration = Duration::from_millis(100);
/// An ended ring is asked again and again under ParameterServerStrategy: not too fast.
const PACE: Duration = Duration::from_millis(20);

/// In place of a number of rows.
const IDLE: i64 = -1;
const END: i64 = -2;

struct NextKernel {
    ring: String,
    layout: Vec<Column>,
    types: Vec<c_int>,
}

struct AckKernel {
    ring: String,
}

/// An error with TensorFlow's code.
struct Failed(c_int, String);

impl From<String> for Failed {
    fn from(text: String) -> Self {
        Self(code::INTERNAL, text)
    }
}

fn guarded<T>(call: impl FnOnce() -> Result<T, Failed>) -> Result<T, Failed> {
    catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|_| Err(Failed(code::INTERNAL, "yarn-ml's op panicked; please report it".to_owned())))
}

pub extern "C" fn register() {
    let Some(api) = api() else {
        eprintln!("yarn-ml: this process has no TensorFlow whose C API has kernels (2.4 or later)");
        return;
    };
    let registered = guarded(|| {
        define(
            api,
            c"YarnMlRingNext",
            &[c"ring: string", c"layout: string", c"types: list(type) >= 0"],
            &[],
            &[c"status: int64", c"rank: int64", c"seq: int64", c"epoch: int64", c"columns: types"],
            (next_create, next_compute, next_delete),
        )?;
        define(api, c"YarnMlRingAck", &[c"ring: string"], &[c"seq: int64"], &[], (ack_create, ack_compute, ack_delete))
    });
    if let Err(Failed(_, text)) = registered {
        eprintln!("yarn-ml: {text}");
    }
}

type Functions =
    (unsafe extern "C" fn(Handle) -> Handle, unsafe extern "C" fn(Handle, Handle), unsafe extern "C" fn(Handle));

fn define(
    api: &'static Api,
    name: &CStr,
    attributes: &[&CStr],
    inputs: &[&CStr],
    outputs: &[&CStr],
    (create, compute, delete): Functions,
) -> Result<(), Failed> {
    let status = Status::new(api);
    // SAFETY: builders are used as the C API asks: filled, then given away by registering; all strings live through the calls.
    unsafe {
        let builder = (api.TF_NewOpDefinitionBuilder)(name.as_ptr());
        for attribute in attributes {
            (api.TF_OpDefinitionBuilderAddAttr)(builder, attribute.as_ptr());
        }
        for input in inputs {
            (api.TF_OpDefinitionBuilderAddInput)(builder, input.as_ptr());
        }
        for output in outputs {
            (api.TF_OpDefinitionBuilderAddOutput)(builder, output.as_ptr());
        }
        (api.TF_OpDefinitionBuilderSetIsStateful)(builder, true);
        (api.TF_OpDefinitionBuilderSetShapeInferenceFunction)(builder, unknown_shapes);
        (api.TF_RegisterOpDefinition)(builder, status.handle);
        status.check("failed to register an op")?;
        let kernel = (api.TF_NewKernelBuilder)(name.as_ptr(), c"CPU".as_ptr(), create, compute, delete);
        (api.TF_RegisterKernelBuilder)(name.as_ptr(), kernel, status.handle);
    }
    Ok(status.check("failed to register a kernel")?)
}

/// Python sets the shapes: the number of rows differs from batch to batch.
unsafe extern "C" fn unknown_shapes(context: Handle, status: Handle) {
    if let Some(api) = api() {
        // SAFETY: TensorFlow calls with its own context and status.
        unsafe { (api.TF_ShapeInferenceContextSetUnknownShape)(context, status) }
    }
}

/// Makes a kernel, or tells TensorFlow why not.
fn created<K>(context: Handle, make: impl FnOnce(&'static Api) -> Result<K, Failed>) -> Handle {
    let Some(api) = api() else { return null_mut() };
    match guarded(|| make(api)) {
        Ok(kernel) => Box::into_raw(Box::new(kernel)).cast(),
        Err(Failed(code, text)) => {
            let status = Status::new(api);
            status.set(code, &text);
            // SAFETY: TensorFlow's own context; the status lives through the call.
            unsafe { (api.TF_OpKernelConstruction_Failure)(context, status.handle) };
            null_mut()
        }
    }
}

/// Runs a kernel, or tells TensorFlow what failed.
fn computed<K>(kernel: Handle, context: Handle, run: impl FnOnce(&K, &'static Api, &Status) -> Result<(), Failed>) {
    let Some(api) = api() else { return };
    let status = Status::new(api);
    // SAFETY: TensorFlow hands back what `create` returned, until `delete`.
    let result = match unsafe { kernel.cast::<K>().as_ref() } {
        Some(kernel) => guarded(|| run(kernel, api, &status)),
        None => Err(Failed(code::INTERNAL, "the kernel was not made".to_owned())),
    };
    if let Err(Failed(code, text)) = result {
        status.set(code, &text);
        // SAFETY: as above.
        unsafe { (api.TF_OpKernelContext_Failure)(context, status.handle) };
    }
}

fn attribute(api: &'static Api, context: Handle, name: &CStr) -> Result<String, Failed> {
    let status = Status::new(api);
    let (mut list, mut total) = (0, 0);
    // SAFETY: both numbers are written during the call.
    unsafe { (api.TF_OpKernelConstruction_GetAttrSize)(context, name.as_ptr(), &mut list, &mut total, status.handle) };
    status.check("failed to read an attribute")?;
    let mut bytes = vec![0u8; usize::try_from(total).unwrap_or(0)];
    // SAFETY: TensorFlow writes at most as many bytes as are told.
    unsafe {
        (api.TF_OpKernelConstruction_GetAttrString)(
            context,
            name.as_ptr(),
            bytes.as_mut_ptr().cast(),
            bytes.len(),
            status.handle,
        );
    }
    status.check("failed to read an attribute")?;
    String::from_utf8(bytes).map_err(|_| Failed(code::INVALID_ARGUMENT, "an attribute is not UTF-8".to_owned()))
}

fn type_list(api: &'static Api, context: Handle) -> Result<Vec<c_int>, Failed> {
    let status = Status::new(api);
    let (mut list, mut total) = (0, 0);
    // SAFETY: as in `attribute`.
    unsafe {
        (api.TF_OpKernelConstruction_GetAttrSize)(context, c"types".as_ptr(), &mut list, &mut total, status.handle)
    };
    status.check("failed to read the types")?;
    let mut types = vec![0; usize::try_from(list).unwrap_or(0)];
    // SAFETY: as in `attribute`.
    unsafe {
        (api.TF_OpKernelConstruction_GetAttrTypeList)(
            context,
            c"types".as_ptr(),
            types.as_mut_ptr(),
            list,
            status.handle,
        );
    }
    status.check("failed to read the types")?;
    Ok(types)
}

unsafe extern "C" fn next_create(context: Handle) -> Handle {
    created(context, |api| {
        let wrong = |text: String| Failed(code::INVALID_ARGUMENT, text);
        let layout = layout(&attribute(api, context, c"layout")?).map_err(wrong)?;
        let types = type_list(api, context)?;
        let outputs: usize = layout.iter().map(|column| 1 + usize::from(column.nullable)).sum();
        if types.len() != outputs {
            return Err(wrong(format!("the layout has {outputs} outputs, and there are {} types", types.len())));
        }
        Ok(NextKernel { ring: attribute(api, context, c"ring")?, layout, types })
    })
}

unsafe extern "C" fn next_compute(kernel: Handle, context: Handle) {
    computed(kernel, context, |kernel: &NextKernel, api, status| {
        // Here and not in `create`: the graph may be built where there is no ring.
        let shared = find(&kernel.ring).map_err(|text| Failed(code::INVALID_ARGUMENT, text))?;
        let mut outputs = Outputs { api, context, status, next: 0 };
        let rank = shared.rank.cast_signed();
        let mut scalars = |values: [i64; 4]| values.into_iter().try_for_each(|value| outputs.scalar(value));
        match next(&shared)? {
            Some(Next::Frame(frame)) => {
                let header = frame.header();
                scalars([header.rows.cast_signed(), rank, header.seq.cast_signed(), header.epoch.cast_signed()])?;
                outputs.batch(frame, &kernel.layout, &kernel.types)?;
            }
            other => {
                scalars([if matches!(other, Some(Next::End)) { END } else { IDLE }, rank, -1, -1])?;
                for data_type in &kernel.types {
                    outputs.empty(*data_type)?;
                }
            }
        }
        Ok(())
    });
}

/// The next batch, end or idleness. Schemas are known when the graph is built.
fn next(shared: &Arc<Shared>) -> Result<Option<Next>, Failed> {
    let failed = |error: RingError| match error {
        RingError::ProducerGone { .. } | RingError::Failed(_) => Failed(code::DATA_LOSS, error.to_string()),
        other => Failed(code::INTERNAL, other.to_string()),
    };
    let mut consumer = shared.consumer.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        match consumer.next(WAIT).map_err(failed)? {
            Next::Frame(frame) if frame.header().kind != Kind::Batch => {}
            Next::End => {
                drop(consumer);
                std::thread::sleep(PACE);
                return Ok(Some(Next::End));
            }
            Next::Idle => return Ok(None),
            frame => return Ok(Some(frame)),
        }
    }
}

unsafe extern "C" fn next_delete(kernel: Handle) {
    if !kernel.is_null() {
        // SAFETY: made by `next_create`, given back once.
        drop(unsafe { Box::from_raw(kernel.cast::<NextKernel>()) });
    }
}

unsafe extern "C" fn ack_create(context: Handle) -> Handle {
    created(context, |api| Ok(AckKernel { ring: attribute(api, context, c"ring")? }))
}

unsafe extern "C" fn ack_compute(kernel: Handle, context: Handle) {
    computed(kernel, context, |kernel: &AckKernel, api, status| {
        let shared = find(&kernel.ring).map_err(|text| Failed(code::INVALID_ARGUMENT, text))?;
        let mut tensor = null_mut();
        // SAFETY: TensorFlow writes the tensor, which is ours to give back.
        unsafe { (api.TF_GetInput)(context, 0, &mut tensor, status.handle) };
        status.check("failed to read the batch's number")?;
        // SAFETY: the op declares int64; its size is looked at before it is read.
        let seq = unsafe {
            let seq = ((api.TF_TensorByteSize)(tensor) == 8)
                .then(|| (api.TF_TensorData)(tensor).cast::<i64>().read_unaligned());
            (api.TF_DeleteTensor)(tensor);
            seq
        };
        let seq = seq.ok_or_else(|| Failed(code::INVALID_ARGUMENT, "`seq` must be a scalar".to_owned()))?;
        // Negative for elements that are no batches.
        if let Ok(seq) = u64::try_from(seq) {
            shared.acknowledger.acknowledge(seq);
        }
        Ok(())
    });
}

unsafe extern "C" fn ack_delete(kernel: Handle) {
    if !kernel.is_null() {
        // SAFETY: made by `ack_create`, given back once.
        drop(unsafe { Box::from_raw(kernel.cast::<AckKernel>()) });
    }
}
