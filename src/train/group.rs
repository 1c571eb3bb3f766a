//! Processes that train one model together: each has a part of every batch, and all make the same updates.
//!
//! They meet in votes: before each update, and when a run or another piece of work ends. In a vote each process says how it
//! fares and how much it has of the next batch. One that fails or is stopped says so in its next vote and leaves; the others
//! learn of it there, so nobody waits for it. After a vote in which all go on, all take part in the sums that follow. Between a
//! vote and a sum one process alone can fail in its pass only: it adds NaN to the gradients, which all refuse, and the vote
//! that ends the run says why.

use std::cell::Cell;
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::{Result, anyhow};
use tch::Tensor;

use crate::data::{Batch, Share};
use crate::error::Error;
use crate::libtorch::{begin_sum, wait};
use crate::model::{Composite, Losses, Sum};
use crate::random::Rows;
use crate::stop::caught;

/// Bytes of a reason that the other processes get.
const REASON: usize = 1024;

/// A group of processes, and this one's place in it.
#[derive(Debug)]
pub struct Group {
    /// Sums on a GPU, by its name in libtorch.
    gradients: String,
    /// Sums on the CPU.
    control: String,
    rank: usize,
    size: usize,
    /// Whether an error is a user's wish to stop.
    is_stop: fn(&anyhow::Error) -> bool,
    state: AtomicU8,
}

/// What this process has of a batch.
#[derive(Debug, Clone, Copy, Default)]
pub struct Part {
    pub rows: i64,
    /// The valid numbers in each decoder's target.
    pub counts: [f64; 2],
}

impl Part {
    pub fn of(model: &Composite, batch: Option<&Batch>) -> Self {
        let counts = model.counts(batch).decoders.map(Option::unwrap_or_default);
        Self { rows: batch.map_or(0, |batch| batch.past.batch()), counts }
    }
}

/// A batch of which each process has a part.
#[derive(Debug, Clone, Copy)]
pub struct Whole<'a> {
    pub group: &'a Group,
    /// This process's rows.
    pub rows: Rows,
    /// The valid numbers in each decoder's target.
    pub counts: [f64; 2],
}

impl Whole<'_> {
    /// What each loss is a mean over.
    pub fn counts(&self, model: &Composite) -> Losses<f64> {
        let Losses { decoders: [reconstruct, predict], classes } = model.counts(None);
        let [first, second] = self.counts;
        Losses {
            decoders: [reconstruct.map(|_| first), predict.map(|_| second)],
            classes: classes.map(|_| self.rows.of as f64),
        }
    }
}

/// How a process fares, from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Word {
    GoesOn,
    /// An update was not finite, which all see.
    Diverged,
    Stopped,
    Failed,
}

impl Word {
    const ALL: [Self; 4] = [Self::GoesOn, Self::Diverged, Self::Stopped, Self::Failed];
}

/// Whether the group is complete; a process left, which all know; or one is gone, so that no sum would end.
const COMPLETE: u8 = 0;
const PARTED: u8 = 1;
const LOST: u8 = 2;

impl Group {
    pub fn new(
        gradients: String,
        control: String,
        rank: usize,
        size: usize,
        is_stop: fn(&anyhow::Error) -> bool,
    ) -> Self {
        Self { gradients, control, rank, size, is_stop, state: AtomicU8::new(COMPLETE) }
    }

    /// This process's share of windows that all processes have.
    pub fn share(&self) -> Share {
        Share::Shared { rank: self.rank, size: self.size }
    }

    /// Whether sums still end.
    pub fn is_reachable(&self) -> bool {
        self.state.load(Ordering::Relaxed) != LOST
    }

    /// Tell the others what this process has of the next batch, or why it leaves; learn the same of them.
    ///
    /// # Errors
    ///
    /// If a process leaves; then there is no further vote.
    pub fn vote(&self, mine: Result<Part, &anyhow::Error>) -> Result<Whole<'_>> {
        if self.state.load(Ordering::Relaxed) != COMPLETE {
            return Err(gone("this process has left the group"));
        }
        let word = mine.as_ref().map_or_else(|error| self.word(error), |_| Word::GoesOn);
        let part = mine.unwrap_or_default();
        let mut said = vec![0.0; 2 + 2 * self.size];
        said[..2].copy_from_slice(&part.counts);
        said[2 + 2 * self.rank] = f64::from(word as u8);
        said[3 + 2 * self.rank] = part.rows as f64;
        let said = self.sum(&said)?;
        let words: Vec<Word> = said[2..].iter().step_by(2).map(|word| Word::ALL[*word as usize]).collect();
        let rows: Vec<i64> = said[3..].iter().step_by(2).map(|rows| *rows as i64).collect();
        // Of several that fare alike, the first.
        let rank = (0..self.size).rev().max_by_key(|rank| words[*rank]).unwrap_or_default();
        let worst = words[rank];
        if worst == Word::GoesOn {
            let rows = Rows { first: rows[..self.rank].iter().sum(), of: rows.iter().sum() };
            return Ok(Whole { group: self, rows, counts: [said[0], said[1]] });
        }
        self.state.store(PARTED, Ordering::Relaxed);
        let why = self.reason(if rank == self.rank { mine.err() } else { None })?;
        Err(match worst {
            Word::Stopped => Error::Stopped.into(),
            Word::Diverged => Error::Elsewhere { why }.into(),
            _ => Error::Peer { rank, why }.into(),
        })
    }

    /// End a piece of work: all succeed, or none goes on.
    pub fn end<T>(&self, mine: Result<T>) -> Result<T> {
        if self.state.load(Ordering::Relaxed) != COMPLETE {
            return mine;
        }
        let all = self.vote(mine.as_ref().map(|_| Part::default()));
        match (mine, all) {
            // A process that failed in its pass made the numbers of all NaN.
            (Err(error), Err(theirs)) if diverged(&error) && !diverged(&theirs) => Err(theirs),
            (Ok(_), Err(theirs)) => Err(theirs),
            (mine, _) => mine,
        }
    }

    fn word(&self, error: &anyhow::Error) -> Word {
        match error {
            error if (self.is_stop)(error) => Word::Stopped,
            error if diverged(error) => Word::Diverged,
            _ => Word::Failed,
        }
    }

    /// The reason of the one process that gives it.
    fn reason(&self, mine: Option<&anyhow::Error>) -> Result<String> {
        let mut text = mine.map(|error| format!("{error:#}").into_bytes()).unwrap_or_default();
        text.resize(REASON, 0);
        let text = Tensor::from_slice(&text);
        self.sum_in_place(&text)?;
        let text: Vec<u8> = Vec::try_from(&text)?;
        Ok(String::from_utf8_lossy(&text).trim_end_matches(['\0', char::REPLACEMENT_CHARACTER]).to_owned())
    }

    /// Make `pass`, which writes this process's gradients to `flat`, and add up those of all. Those from `decoders` on are
    /// complete when `pass` calls its argument; they travel while it goes on.
    pub fn add_up<T>(&self, flat: &Tensor, decoders: i64, pass: impl FnOnce(&dyn Fn()) -> Result<T>) -> Result<T> {
        let size = flat.size()[0];
        let decoders = decoders.min(size);
        let [head, tail] = [(0, decoders), (decoders, size - decoders)].map(|(first, n)| flat.narrow(0, first, n));
        let begun = Cell::new(None);
        let begin = || begun.set(Some(if decoders < size { self.begin(&tail) } else { Ok(()) }));
        let made = caught(|| pass(&begin));
        if made.is_err() {
            poison(flat, f64::NAN);
        }
        if begun.take().unwrap_or_else(|| if decoders < size { self.begin(&tail) } else { Ok(()) }).is_ok() {
            self.sum_in_place(&head)?;
        }
        made
    }

    /// The losses of all processes, and whether all have the same checksum.
    pub fn total(&self, losses: &Losses, checksum: f64) -> Result<(Losses, bool)> {
        let parts = losses.decoders.iter().chain([&losses.classes]);
        let mut numbers: Vec<f64> =
            parts.flat_map(|part| part.map_or([0.0; 3], |loss| [1.0, loss.sum, loss.count])).collect();
        numbers.resize(9 + self.size, 0.0);
        numbers[9 + self.rank] = checksum;
        let numbers = self.sum(&numbers)?;
        let part = |at: usize| (numbers[at] > 0.0).then(|| Sum { sum: numbers[at + 1], count: numbers[at + 2] });
        let same = numbers[9..].iter().all(|one| one.to_bits() == numbers[9].to_bits());
        Ok((Losses { decoders: [part(0), part(3)], classes: part(6) }, same))
    }

    /// The numbers of process 0.
    pub fn first<const N: usize>(&self, numbers: [i64; N]) -> Result<[i64; N]> {
        let numbers = Tensor::from_slice(&if self.rank == 0 { numbers } else { [0; N] });
        self.sum_in_place(&numbers)?;
        Ok(std::array::from_fn(|at| numbers.int64_value(&[at as i64])))
    }

    /// Replace the numbers of `flat` by those of process 0.
    pub fn copy_first(&self, flat: &Tensor) -> Result<()> {
        let numbers = if self.rank == 0 { flat.copy() } else { flat.zeros_like() };
        self.sum_in_place(&numbers)?;
        flat.shallow_clone().copy_(&numbers);
        Ok(())
    }

    fn sum(&self, numbers: &[f64]) -> Result<Vec<f64>> {
        let numbers = Tensor::from_slice(numbers);
        self.sum_in_place(&numbers)?;
        Ok(Vec::try_from(&numbers)?)
    }

    fn sum_in_place(&self, numbers: &Tensor) -> Result<()> {
        self.begin(numbers)?;
        wait(numbers).map_err(|why| self.lost(&why))
    }

    fn begin(&self, numbers: &Tensor) -> Result<()> {
        let group = if numbers.device().is_cuda() { &self.gradients } else { &self.control };
        begin_sum(numbers, group).map_err(|why| self.lost(&why))
    }

    /// No sum ends from here on.
    fn lost(&self, why: &anyhow::Error) -> anyhow::Error {
        self.state.store(LOST, Ordering::Relaxed);
        gone(why)
    }
}

/// Make a gradient of all processes NaN if `number` is not finite; otherwise change nothing.
pub fn poison(flat: &Tensor, number: impl Into<Tensor>) {
    // The first belongs to a weight, and every pass writes it anew.
    let mut first = flat.narrow(0, 0, 1);
    first += (number.into() * 0.0).to_kind(flat.kind());
}

fn diverged(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Error::Diverged { .. } | Error::Elsewhere { .. }))
}

fn gone(why: impl ToString) -> anyhow::Error {
    anyhow!(Error::Gone { why: why.to_string() })
}
