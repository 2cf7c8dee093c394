"""The ring's native library, loaded with ctypes."""

import ctypes
import os
import pathlib


class Frame(ctypes.Structure):
    """A frame in shared memory; `handle` gives it back."""

    _fields_ = [
        ("handle", ctypes.c_void_p),
        ("data", ctypes.c_void_p),
        ("length", ctypes.c_uint64),
        ("kind", ctypes.c_uint32),
        ("codec", ctypes.c_uint32),
        ("seq", ctypes.c_uint64),
        ("rows", ctypes.c_uint64),
        ("epoch", ctypes.c_uint64),
    ]


def library_path(name):
    """Path of a library that lies beside the package, or where YARN_ML_LIB says."""
    folder = os.environ.get("YARN_ML_LIB")
    base = pathlib.Path(folder) if folder else pathlib.Path(__file__).parent / "lib"
    path = base / name
    if not path.exists():
        raise ImportError(
            f"{name} is not in {base}; yarn-ml's agent puts it there, and YARN_ML_LIB names another folder"
        )
    return str(path)


def _load():
    library = ctypes.CDLL(library_path("libyarn_ml_native.so"))
    prototypes = {
        "yarn_ml_ring_open": (ctypes.c_void_p, [ctypes.c_int]),
        "yarn_ml_ring_next": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_uint64, ctypes.POINTER(Frame)]),
        "yarn_ml_frame_release": (None, [ctypes.c_void_p]),
        "yarn_ml_ring_acknowledge": (None, [ctypes.c_void_p, ctypes.c_uint64]),
        "yarn_ml_ring_held": (ctypes.c_uint64, [ctypes.c_void_p]),
        "yarn_ml_ring_close": (None, [ctypes.c_void_p]),
        "yarn_ml_last_error": (ctypes.c_size_t, [ctypes.c_char_p, ctypes.c_size_t]),
    }
    for name, (result, arguments) in prototypes.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


_library = None


def library():
    """The library, loaded when it is first needed: most ranks have no ring."""
    global _library
    if _library is None:
        _library = _load()
    return _library


def last_error():
    buffer = ctypes.create_string_buffer(4096)
    count = library().yarn_ml_last_error(buffer, len(buffer))
    return buffer.raw[:count].decode("utf-8", "replace")
