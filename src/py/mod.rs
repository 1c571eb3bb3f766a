//! The door to Python: parse, call, convert. The words and defaults that users meet are Python's, in `python/backcast`.

mod arrays;
mod core;
mod errors;
mod settings;

/// The private module `backcast._core`.
#[pyo3::pymodule(name = "_core")]
mod _core {
    #[pymodule_export]
    use super::core::{Core, Placed, cuda_device_count, read, write};

    #[pymodule_init]
    #[allow(clippy::unnecessary_wraps, reason = "what pyo3 calls")]
    fn init(_module: &pyo3::Bound<'_, pyo3::types::PyModule>) -> pyo3::PyResult<()> {
        // From here on a fork can be told.
        crate::libtorch::forked();
        Ok(())
    }
}
