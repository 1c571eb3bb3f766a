//! What ends a computation in its middle: Ctrl-C, and memory that the system refuses.
//!
//! Both leave the kernels by unwinding, as libtorch's errors do, with an `anyhow::Error` as the payload; `src/py` hands it on.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use tch::{Device, Kind, Tensor};

use crate::error::Error;

/// The shortest time between two questions: each takes a lock that Python's other threads want.
pub const EVERY: Duration = Duration::from_millis(50);

/// Multiplications between two looks. They take less than a millisecond; a look costs nothing beside them.
const WORK: usize = 1 << 23;

/// Answers with an error if the computation is to stop.
type Ask = fn() -> Result<()>;

thread_local! {
    static ASK: Cell<Option<Ask>> = const { Cell::new(None) };
    static ASKED: Cell<Option<Instant>> = const { Cell::new(None) };
    /// Whether the job that this thread helps with has failed elsewhere.
    static FAILED: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// While this lives, `look` asks on this thread.
#[must_use]
pub struct Asking(Option<Ask>);

impl Asking {
    pub fn with(ask: Ask) -> Self {
        ASKED.set(Some(Instant::now()));
        Self(ASK.replace(Some(ask)))
    }

    /// Look for nothing while this lives: the work must not be left half done.
    pub fn nobody() -> Self {
        Self(ASK.replace(None))
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        ASK.set(self.0);
    }
}

/// While this lives, `look` heeds the flag of a job.
#[must_use]
pub struct Helping(Option<Arc<AtomicBool>>);

impl Helping {
    pub fn with(failed: &Arc<AtomicBool>) -> Self {
        Self(FAILED.replace(Some(Arc::clone(failed))))
    }
}

impl Drop for Helping {
    fn drop(&mut self) {
        FAILED.replace(self.0.take());
    }
}

/// Unwind if this thread's computation is to stop.
#[cold]
#[inline(never)]
pub fn look() {
    if FAILED.with_borrow(|failed| failed.as_ref().is_some_and(|failed| failed.load(Ordering::Relaxed))) {
        // The payload of the thread that failed is the one that counts.
        resume_unwind(Box::new(()));
    }
    let Some(ask) = ASK.get() else { return };
    if ASKED.get().is_some_and(|asked| asked.elapsed() < EVERY) {
        return;
    }
    let answer = ask();
    ASKED.set(Some(Instant::now()));
    if let Err(error) = answer {
        end(error);
    }
}

/// Looks now and then, by the work that was done.
#[derive(Debug, Default)]
pub struct Meter(usize);

impl Meter {
    /// Count `work` multiplications.
    #[inline(always)]
    pub fn add(&mut self, work: usize) {
        self.0 += work;
        if self.0 >= WORK {
            self.0 = 0;
            look();
        }
    }
}

/// Unwind with an error.
pub fn end(error: impl Into<anyhow::Error>) -> ! {
    resume_unwind(Box::new(error.into()))
}

/// The result of `work`; what unwinds is its error.
pub fn caught<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(error_of(panic)))
}

fn error_of(panic: Box<dyn Any + Send>) -> anyhow::Error {
    let text = match panic.downcast::<anyhow::Error>() {
        Ok(error) => return *error,
        Err(panic) => match panic.downcast::<String>() {
            Ok(text) => *text,
            Err(panic) => panic.downcast_ref::<&str>().copied().unwrap_or("a panic without a message").to_owned(),
        },
    };
    Panic(text).into()
}

/// A panic: libtorch's errors come as texts.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Panic(String);

/// Make room for `more` items. `Vec` itself would abort the process if there is none.
pub fn reserve<T>(vec: &mut Vec<T>, more: usize) {
    if vec.try_reserve_exact(more).is_err() {
        end(Error::Memory { bytes: more as f64 * size_of::<T>() as f64 });
    }
}

/// A flat tensor of zeros, filled piece by piece on the CPU.
pub fn zeros(size: i64, options: (Kind, Device)) -> Tensor {
    if options.1 != Device::Cpu {
        return Tensor::zeros([size], options);
    }
    let flat = Tensor::empty([size], options);
    by_pieces(size, |first, n| drop(flat.narrow(0, first, n).zero_()));
    flat
}

/// A copy of a flat tensor, made piece by piece.
pub fn copy(flat: &Tensor) -> Tensor {
    let copy = flat.empty_like();
    by_pieces(flat.size()[0], |first, n| copy.narrow(0, first, n).copy_(&flat.narrow(0, first, n)));
    copy
}

/// Call `work(first, length)` for pieces of 0..size, and look before each.
fn by_pieces(size: i64, work: impl Fn(i64, i64)) {
    /// Numbers in a piece: some ten milliseconds, as the system provides the memory when it is first written.
    const PIECE: i64 = 1 << 24;
    for first in (0..size).step_by(PIECE as usize) {
        look();
        work(first, PIECE.min(size - first));
    }
}
