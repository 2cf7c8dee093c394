//! The part of TensorFlow's C API that is used, found in the running process.

use std::{
    ffi::{CStr, CString, c_char, c_int, c_void},
    sync::OnceLock,
};

/// Any of TensorFlow's opaque types.
pub type Handle = *mut c_void;

pub mod data_type {
    use std::ffi::c_int;

    pub const STRING: c_int = 7;
    pub const INT64: c_int = 9;
}

pub mod code {
    use std::ffi::c_int;

    pub const INVALID_ARGUMENT: c_int = 3;
    pub const INTERNAL: c_int = 13;
    pub const DATA_LOSS: c_int = 15;
}

macro_rules! functions {
    ($($name:ident: fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        #[allow(non_snake_case)]
        pub struct Api {
            $(pub $name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        fn load() -> Option<Api> {
            // JUSTIFICATION: TensorFlow is linked into the process by Python, under names that no linker knows beforehand. The C API
            // is spread over both libraries.
            let libraries = [c"libtensorflow_framework.so.2", c"libtensorflow_cc.so.2"].map(|name| {
                // SAFETY: a plain call with a string that ends in NUL; nothing is loaded that is not loaded already.
                unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_NOLOAD) }
            });
            let find = |name: &str| {
                libraries.into_iter().filter(|library| !library.is_null()).find_map(|library| {
                    // SAFETY: as above; the library is open.
                    let symbol = unsafe { libc::dlsym(library, name.as_ptr().cast()) };
                    (!symbol.is_null()).then_some(symbol)
                })
            };
            Some(Api {
                $($name: {
                    let symbol = find(concat!(stringify!($name), "\0"))?;
                    // SAFETY: the C API declares the symbol with this signature, and keeps it: that is what it is for.
                    unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($argument),*) $(-> $result)?>(symbol) }
                },)*
            })
        }
    };
}

functions! {
    TF_NewStatus: fn() -> Handle;
    TF_DeleteStatus: fn(Handle);
    TF_GetCode: fn(Handle) -> c_int;
    TF_Message: fn(Handle) -> *const c_char;
    TF_SetStatus: fn(Handle, c_int, *const c_char);
    TF_NewOpDefinitionBuilder: fn(*const c_char) -> Handle;
    TF_OpDefinitionBuilderAddAttr: fn(Handle, *const c_char);
    TF_OpDefinitionBuilderAddInput: fn(Handle, *const c_char);
    TF_OpDefinitionBuilderAddOutput: fn(Handle, *const c_char);
    TF_OpDefinitionBuilderSetIsStateful: fn(Handle, bool);
    TF_OpDefinitionBuilderSetShapeInferenceFunction: fn(Handle, unsafe extern "C" fn(Handle, Handle));
    TF_RegisterOpDefinition: fn(Handle, Handle);
    TF_ShapeInferenceContextSetUnknownShape: fn(Handle, Handle);
    TF_NewKernelBuilder: fn(*const c_char, *const c_char, unsafe extern "C" fn(Handle) -> Handle, unsafe extern "C" fn(Handle, Handle), unsafe extern "C" fn(Handle)) -> Handle;
    TF_RegisterKernelBuilder: fn(*const c_char, Handle, Handle);
    TF_OpKernelConstruction_GetAttrSize: fn(Handle, *const c_char, *mut i32, *mut i32, Handle);
    TF_OpKernelConstruction_GetAttrString: fn(Handle, *const c_char, *mut c_char, usize, Handle);
    TF_OpKernelConstruction_GetAttrTypeList: fn(Handle, *const c_char, *mut c_int, c_int, Handle);
    TF_OpKernelConstruction_Failure: fn(Handle, Handle);
    TF_OpKernelContext_Failure: fn(Handle, Handle);
    TF_GetInput: fn(Handle, c_int, *mut Handle, Handle);
    TF_TensorData: fn(Handle) -> *mut c_void;
    TF_TensorByteSize: fn(Handle) -> usize;
    TF_NewTensor: fn(c_int, *const i64, c_int, *mut c_void, usize, unsafe extern "C" fn(*mut c_void, usize, *mut c_void), *mut c_void) -> Handle;
    TF_DeleteTensor: fn(Handle);
    TF_SetOutput: fn(Handle, c_int, Handle, Handle);
    TF_AllocateOutput: fn(Handle, c_int, c_int, *const i64, c_int, usize, Handle) -> Handle;
    TF_StringCopy: fn(Handle, *const c_char, usize);
}

static API: OnceLock<Option<Api>> = OnceLock::new();

/// Nothing when this process has no TensorFlow, or one without these functions.
pub fn api() -> Option<&'static Api> {
    API.get_or_init(load).as_ref()
}

/// A status of TensorFlow's, given back when dropped.
pub struct Status {
    api: &'static Api,
    pub handle: Handle,
}

impl Status {
    pub fn new(api: &'static Api) -> Self {
        // SAFETY: no precondition.
        Self { api, handle: unsafe { (api.TF_NewStatus)() } }
    }

    pub fn set(&self, code: c_int, text: &str) {
        let text = CString::new(text.replace('\0', " ")).unwrap_or_default();
        // SAFETY: the status is ours and the text lives through the call.
        unsafe { (self.api.TF_SetStatus)(self.handle, code, text.as_ptr()) }
    }

    /// What the last call said.
    pub fn check(&self, what: &str) -> Result<(), String> {
        // SAFETY: the status is ours, and its message lives as long.
        unsafe {
            if (self.api.TF_GetCode)(self.handle) == 0 {
                return Ok(());
            }
            let text = CStr::from_ptr((self.api.TF_Message)(self.handle));
            Err(format!("{what}: {}", text.to_string_lossy()))
        }
    }
}

impl Drop for Status {
    fn drop(&mut self) {
        // SAFETY: made by `new`, given back once.
        unsafe { (self.api.TF_DeleteStatus)(self.handle) }
    }
}
