//! The thread pool.
//!
//! libtorch's own pool (OpenMP) waits by spinning, which costs several times the work itself as soon as another process uses
//! the cores: a step of 6 ms took 27 ms beside one busy process. So the CPU kernels use this pool. Each thread, the caller
//! included, takes the next piece when it is ready. The caller never waits for a thread that has not begun, and a waiting
//! thread yields its core and soon sleeps. Meanwhile libtorch's pool is limited to one thread.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use tch::Tensor;

use crate::stop::{self, Helping};

/// A waiting thread spins for `ALERT`, then yields its core until `AWAKE`, then sleeps: waking it takes some hundred
/// microseconds, and the pieces of a small model's step are no longer than that.
const ALERT: Duration = Duration::from_micros(50);
const AWAKE: Duration = Duration::from_millis(2);

/// Multiplications that justify another thread: about 10 microseconds of a core.
const SHARE: usize = 1 << 20;

thread_local!(static LIMIT: Cell<usize> = const { Cell::new(1) });

/// The process that loaded this library.
static PROCESS: OnceLock<u32> = OnceLock::new();

/// Whether this process was forked from the one that loaded the library. Its threads did not come along, and waiting for
/// them would never end; what was on a GPU is out of reach.
pub fn forked() -> bool {
    *PROCESS.get_or_init(std::process::id) != std::process::id()
}

/// While this lives, this thread's work is shared by `number` threads (by default libtorch's number; one in a forked
/// process), and libtorch's pool has one thread or as many. Afterwards libtorch has its former number again, since the
/// user's torch shares its pool.
#[derive(Debug)]
pub struct Threads {
    limit: usize,
    libtorch: i32,
}

impl Threads {
    /// `own`: whether the CPU kernels do the work.
    pub fn limit(number: Option<i32>, own: bool) -> Self {
        let libtorch = tch::get_num_threads();
        let number = if forked() { 1 } else { number.unwrap_or(libtorch).max(1) };
        let limit = LIMIT.replace(number as usize);
        let for_libtorch = if own { 1 } else { number };
        if for_libtorch != libtorch {
            tch::set_num_threads(for_libtorch);
        }
        Self { limit, libtorch }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        LIMIT.set(self.limit);
        if tch::get_num_threads() != self.libtorch {
            tch::set_num_threads(self.libtorch);
        }
    }
}

/// The number of threads for `work` multiplications: one if sharing would cost more than it saves.
pub fn threads(work: usize) -> usize {
    LIMIT.get().min(1 + work / SHARE)
}

/// Wait for `news`, at most for `AWAKE`.
fn stay_awake_until(news: impl Fn() -> bool) {
    let start = Instant::now();
    while !news() {
        match start.elapsed() {
            waited if waited < ALERT => std::hint::spin_loop(),
            waited if waited < AWAKE => thread::yield_now(),
            _ => return,
        }
    }
}

/// Pieces of work, and how many are taken and done.
struct Job {
    /// Valid as long as a taken piece is not done.
    work: *const (dyn Fn(usize) + Sync),
    pieces: usize,
    taken: AtomicUsize,
    done: AtomicUsize,
    /// Whether a piece has panicked, and with what: the others are left.
    failed: Arc<AtomicBool>,
    payload: Mutex<Option<Box<dyn Any + Send>>>,
    caller: Thread,
}

// SAFETY: `work` is `Sync`, and dereferenced only for a piece that was taken, while the caller waits for all pieces.
#[allow(unsafe_code)]
unsafe impl Send for Job {}
#[allow(unsafe_code)]
unsafe impl Sync for Job {}

impl Job {
    /// Do pieces until none is left.
    fn help(&self) {
        let _helping = Helping::with(&self.failed);
        loop {
            let piece = self.taken.fetch_add(1, Ordering::Relaxed);
            if piece >= self.pieces {
                return;
            }
            if !self.failed.load(Ordering::Relaxed) {
                // SAFETY: this piece is not done yet, so the caller is still in `parallel`.
                #[allow(unsafe_code)]
                let work = unsafe { &*self.work };
                self.attempt(|| work(piece));
            }
            if self.done.fetch_add(1, Ordering::AcqRel) + 1 == self.pieces {
                self.caller.unpark();
            }
        }
    }

    /// Keep what the first panic said.
    fn attempt(&self, work: impl FnOnce()) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(work))
            && !self.failed.swap(true, Ordering::Relaxed)
        {
            *lock(&self.payload) = Some(payload);
        }
    }

    fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire) == self.pieces
    }
}

/// The threads, and their present job.
struct Pool {
    /// Held by the thread whose job it is.
    caller: Mutex<()>,
    job: Mutex<(usize, Option<Arc<Job>>)>,
    /// The number of the latest job, readable without the lock.
    latest: AtomicUsize,
    news: Condvar,
    workers: AtomicUsize,
}

static POOL: Pool = Pool {
    caller: Mutex::new(()),
    job: Mutex::new((0, None)),
    latest: AtomicUsize::new(0),
    news: Condvar::new(),
    workers: AtomicUsize::new(0),
};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    fn grow(&'static self, workers: usize) {
        while self.workers.load(Ordering::Relaxed) < workers {
            let name = format!("backcast-{}", self.workers.fetch_add(1, Ordering::Relaxed) + 1);
            let spawned = thread::Builder::new().name(name).spawn(|| {
                tch::set_num_threads(1);
                self.work();
            });
            if spawned.is_err() {
                // Fewer threads do the same work.
                return;
            }
        }
    }

    fn work(&self) {
        let mut seen = 0;
        loop {
            stay_awake_until(|| self.latest.load(Ordering::Acquire) != seen);
            let job = {
                let mut news = lock(&self.job);
                while news.0 == seen {
                    news = self.news.wait(news).unwrap_or_else(PoisonError::into_inner);
                }
                seen = news.0;
                news.1.clone()
            };
            if let Some(job) = job {
                job.help();
            }
        }
    }

    fn announce(&self, job: Option<&Arc<Job>>) {
        let mut news = lock(&self.job);
        if job.is_some() {
            news.0 += 1;
            self.latest.store(news.0, Ordering::Release);
            self.news.notify_all();
        }
        news.1 = job.cloned();
    }
}

/// Call `work` with 0..pieces, on this thread and others; returns when all calls have.
///
/// # Panics
///
/// If `work` does.
pub fn parallel(pieces: usize, work: impl Fn(usize) + Sync) {
    let mine = match POOL.caller.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        // Another model uses the threads.
        Err(TryLockError::WouldBlock) => None,
    };
    if pieces <= 1 || mine.is_none() || forked() {
        drop(mine);
        return (0..pieces).for_each(work);
    }
    POOL.grow(pieces - 1);
    let work: &(dyn Fn(usize) + Sync) = &work;
    // SAFETY: only the lifetime is forgotten; `Job::help` says why that is sound.
    #[allow(unsafe_code)]
    let work = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(work) };
    let job = Arc::new(Job {
        work,
        pieces,
        taken: AtomicUsize::new(0),
        done: AtomicUsize::new(0),
        failed: Arc::default(),
        payload: Mutex::default(),
        caller: thread::current(),
    });
    POOL.announce(Some(&job));
    job.help();
    stay_awake_until(|| job.is_done());
    while !job.is_done() {
        thread::park_timeout(stop::EVERY);
        // The others use what belongs to this thread, so it may not leave before they do.
        job.attempt(stop::look);
    }
    POOL.announce(None);
    if job.failed.load(Ordering::Relaxed) {
        let payload = lock(&job.payload).take();
        resume_unwind(payload.unwrap_or_else(|| Box::new("parallel work failed")));
    }
}

/// Tensors that several threads read, and of whose numbers each thread writes its own.
struct Shared<'a>(&'a [&'a Tensor]);

// SAFETY: libtorch's tensors may be used from several threads so long as no two write the same numbers, which is what
// `by_parts` asks of its caller.
#[allow(unsafe_code)]
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    fn get(&self) -> &'a [&'a Tensor] {
        self.0
    }
}

/// Cut 0..n into parts and call `work(tensors, first, length)` for each, at once; the results in the order of the parts.
/// Parts write into disjoint pieces of the tensors. `cost` is what the whole costs, in multiplications.
pub fn by_parts<R: Send>(
    tensors: &[&Tensor],
    n: i64,
    cost: usize,
    work: impl Fn(&[&Tensor], i64, i64) -> R + Sync,
) -> Vec<R> {
    /// Parts start where vectors do.
    const UNIT: i64 = 64;
    let parts = threads(cost) as i64;
    let unit = if n > UNIT * parts { UNIT } else { 1 };
    let at = |part: i64| if part == parts { n } else { part * n / parts / unit * unit };
    let tensors = Shared(tensors);
    let results: Vec<Mutex<Option<R>>> = (0..parts).map(|_| Mutex::new(None)).collect();
    parallel(parts as usize, |part| {
        let (first, end) = (at(part as i64), at(part as i64 + 1));
        let result = work(tensors.get(), first, end - first);
        *lock(&results[part]) = Some(result);
    });
    results.into_iter().filter_map(|result| result.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
}
