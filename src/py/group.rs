//! The processes that train one model together, as Python names them.

use pyo3::exceptions::{PyBaseException, PyKeyboardInterrupt};
use pyo3::prelude::*;

use super::errors::detached;
use crate::train;
use crate::train::Part;

/// A group of `torch.distributed`, and this process's place in it.
#[pyclass(frozen, module = "backcast._core")]
pub struct Group(pub train::Group);

#[pymethods]
impl Group {
    /// Sums on a GPU are made by the group named `gradients`, those on the CPU by `control`.
    #[new]
    fn new(gradients: String, control: String, rank: usize, size: usize) -> Self {
        Self(train::Group::new(gradients, control, rank, size, is_stop))
    }

    /// Tell the others that this process goes on, and a number; return the sum of these numbers.
    fn agree(&self, py: Python<'_>, number: i64) -> PyResult<i64> {
        detached(py, || Ok(self.0.vote(Ok(Part { rows: number, ..Part::default() }))?.rows.of))
    }

    /// Tell the others why this process leaves, if they do not know yet.
    fn leave(&self, py: Python<'_>, error: Bound<'_, PyBaseException>) -> PyResult<()> {
        let error = anyhow::Error::from(PyErr::from_value(error.into_any()));
        detached(py, || {
            // How the others fare changes nothing.
            let _ = self.0.end::<()>(Err(error));
            Ok(())
        })
    }
}

fn is_stop(error: &anyhow::Error) -> bool {
    let raised = error.downcast_ref::<PyErr>();
    Python::attach(|py| raised.is_some_and(|raised| raised.is_instance_of::<PyKeyboardInterrupt>(py)))
}
