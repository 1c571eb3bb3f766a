//! How Python calls the engine, and the one place where errors become exceptions.

use std::io;

use pyo3::exceptions::{PyKeyboardInterrupt, PyOSError};
use pyo3::prelude::*;
use pyo3::{PyErr, import_exception};
use tch::TchError;

use crate::error::Error;
use crate::stop::{Asking, Panic, caught};
use crate::threads::Threads;

import_exception!(backcast.errors, ArgumentError);
import_exception!(backcast.errors, BusyError);
import_exception!(backcast.errors, DataError);
import_exception!(backcast.errors, DecoderError);
import_exception!(backcast.errors, DeviceError);
import_exception!(backcast.errors, DivergedError);
import_exception!(backcast.errors, GroupError);
import_exception!(backcast.errors, InternalError);
import_exception!(backcast.errors, OutOfMemoryError);
import_exception!(backcast.errors, ShapeError);

/// Run `work` without the GIL; panics and errors come out as exceptions. In a forked process it has one thread.
pub fn detached<T: Send>(py: Python<'_>, work: impl FnOnce() -> anyhow::Result<T> + Send) -> PyResult<T> {
    let work = || {
        let _asking = Asking::with(|| Ok(Python::attach(|py| py.check_signals())?));
        let _threads = Threads::limit(None, false);
        work()
    };
    py.detach(|| quietly(work)).map_err(exception)
}

/// Catch a panic, and keep its report off the user's screen: it becomes an exception.
fn quietly<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    thread_local!(static INSIDE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) });
    static HOOK: std::sync::Once = std::sync::Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !INSIDE.get() {
                before(info);
            }
        }));
    });
    INSIDE.set(true);
    let result = caught(work);
    INSIDE.set(false);
    result
}

/// The exception of an error: a `PyErr` as it was, ours by their remedy, the system's by their number.
pub fn exception(error: anyhow::Error) -> PyErr {
    let error = match error.downcast::<PyErr>() {
        Ok(raised) => return raised,
        Err(error) => error,
    };
    let text = format!("{error:#}");
    if let Some(ours) = error.downcast_ref::<Error>() {
        return match ours {
            Error::Argument { .. } => ArgumentError::new_err(text),
            Error::Shape { .. } => ShapeError::new_err(text),
            Error::Data { .. } => DataError::new_err(text),
            Error::NoDecoder { .. } => DecoderError::new_err(text),
            Error::Device { .. } => DeviceError::new_err(text),
            Error::Memory { .. } => out_of_memory(&text),
            Error::Diverged { .. } | Error::Elsewhere { .. } => DivergedError::new_err(text),
            Error::Peer { .. } | Error::Gone { .. } => GroupError::new_err(text),
            Error::Stopped => stopped(text),
            Error::Busy => BusyError::new_err(text),
        };
    }
    if error.is::<TchError>() || error.is::<Panic>() {
        return of_libtorch(&text);
    }
    match error.downcast_ref::<io::Error>().map(io::Error::raw_os_error) {
        // Python picks FileNotFoundError, PermissionError and so on by the number.
        Some(Some(number)) => {
            // Python adds the number.
            let text = text.trim_end_matches(&format!(" (os error {number})")).to_owned();
            PyOSError::new_err((number, text))
        }
        Some(None) => PyOSError::new_err(text),
        None => InternalError::new_err(text),
    }
}

/// Another process was stopped; if this one is too, that is one and the same wish.
fn stopped(text: String) -> PyErr {
    Python::attach(|py| py.check_signals()).err().unwrap_or_else(|| PyKeyboardInterrupt::new_err(text))
}

fn out_of_memory(text: &str) -> PyErr {
    OutOfMemoryError::new_err(format!("{text}\nTry a smaller batch_size or hidden_size, or shorter windows"))
}

/// libtorch's errors come as text alone; the first line says what happened, the rest is a C++ stack.
fn of_libtorch(text: &str) -> PyErr {
    let text = text.replace("\\n", "\n");
    let first = text.lines().next().unwrap_or_default();
    if text.contains("out of memory") || text.contains("allocate memory") || text.contains("DefaultCPUAllocator") {
        return out_of_memory(first);
    }
    InternalError::new_err(format!("{first}\nThis is a bug of backcast; please report it with the call that led here"))
}
