//! The interface to Python: parse, call, convert. The defaults that users see are defined in `python/backcast`.

mod arrays;
mod bridge;
mod errors;
mod group;
mod model;
mod session;
mod settings;

/// The private module `backcast._core`.
#[pyo3::pymodule(name = "_core")]
mod _core {
    #[pymodule_export]
    use super::group::Group;
    #[pymodule_export]
    use super::model::{Core, check_weights, cuda_device_count};
    #[pymodule_export]
    use super::session::Session;
    #[pymodule_export]
    use super::settings::{loss_ranges, words};

    #[pymodule_init]
    #[allow(clippy::unnecessary_wraps, reason = "what pyo3 calls")]
    fn init(_module: &pyo3::Bound<'_, pyo3::types::PyModule>) -> pyo3::PyResult<()> {
        // Records the process, so that a later fork is recognized.
        crate::threads::forked();
        Ok(())
    }
}
