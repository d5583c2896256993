//! One set of threads for every product of a program.
//!
//! A board has few cores, and a question takes thousands of small products: a
//! thread per product would cost more than the product. The workers of a pool
//! are started once. The thread that asks takes part, so a pool of one has no
//! workers at all.
//!
//! Tasks are taken from a counter, so a core that is busy elsewhere takes
//! fewer. Which thread takes which task cannot be seen in the results, as long
//! as every task writes only what is its own.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::disjoint::Disjoint;
use crate::error::{IsaError, PoolError};
use crate::isa::Isa;

/// How long an idle worker looks for work before it sleeps. Longer than the
/// pause between two products of a decoder layer, far shorter than the pause
/// between two questions.
const LINGER: Duration = Duration::from_micros(100);

/// Threads that share the work of one job at a time, and the instruction set
/// that their kernels use.
///
/// A clone is another handle to the same threads; they end with the last one.
#[derive(Clone)]
pub struct Pool {
    crew: Arc<Crew>,
    // Invariant: available on this processor.
    isa: Isa,
}

impl Pool {
    /// A pool of `threads` threads, the caller's included, with the instruction
    /// set of [`Isa::from_environment`].
    pub fn new(threads: usize) -> Result<Self, PoolError> {
        let isa = Isa::from_environment()?;
        if threads == 0 {
            return Err(PoolError::NoThreads);
        }
        log::debug!("thread pool: {threads} threads, {isa}");
        Ok(Self {
            crew: Arc::new(Crew::start(threads)?),
            isa,
        })
    }

    /// The same threads with another instruction set.
    pub fn with_isa(&self, isa: Isa) -> Result<Self, IsaError> {
        Ok(Self {
            crew: Arc::clone(&self.crew),
            isa: isa.checked()?,
        })
    }

    /// The number of threads, the caller's included.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.crew.workers.len() + 1
    }

    /// The instruction set of the kernels; available on this processor.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Calls `task` once with every number below `tasks`, and returns when all
    /// calls have returned.
    ///
    /// Inside a task of any pool, or while another thread uses this one, the
    /// calls are made one after the other on the calling thread.
    ///
    /// # Panics
    /// If a task panics, with the payload of the first one.
    pub fn run<F: Fn(usize) + Sync>(&self, tasks: usize, task: F) {
        self.crew.run(tasks, &task);
    }

    /// Cuts `values` into pieces of `piece` elements (the last one may be
    /// shorter) and calls `task` once with each and its number.
    ///
    /// # Panics
    /// If `piece` is zero, or as [`Pool::run`].
    pub fn for_each_piece<T, F>(&self, values: &mut [T], piece: usize, task: F)
    where
        T: Send,
        F: Fn(usize, &mut [T]) + Sync,
    {
        let len = values.len();
        let pieces = len.div_ceil(piece);
        let values = Disjoint::new(values);
        self.run(pieces, |index| {
            let start = index * piece;
            // SAFETY: every index is given to one call only, and the ranges
            // of different indices do not overlap.
            let part = unsafe { values.part(start..len.min(start + piece)) };
            task(index, part);
        });
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("threads", &self.threads())
            .field("isa", &self.isa)
            .finish()
    }
}

/// The workers, and the desk where they find the job.
struct Crew {
    desk: Arc<Desk>,
    /// Held by the thread whose job is on the desk.
    turn: Mutex<()>,
    workers: Vec<JoinHandle<()>>,
}

type Task<'a> = dyn Fn(usize) + Sync + 'a;

/// What all threads of a crew share.
///
/// `state` holds, from the top: a generation of 32 bits that grows with every
/// job, one bit that says whether the job is open, and the number of workers
/// that are inside it. A worker enters an open job by adding one. The owner
/// closes the job, waits until nobody is inside, and only then may the job's
/// closure die. A worker that wakes late finds the job closed and never
/// touches it; nobody waits for a sleeper.
struct Desk {
    state: AtomicU64,
    job: UnsafeCell<Option<Job>>,
    next: AtomicUsize,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    closing: AtomicBool,
    sleepers: AtomicUsize,
    bed: Mutex<()>,
    bell: Condvar,
}

#[derive(Clone, Copy)]
struct Job {
    task: *const Task<'static>,
    tasks: usize,
}

const OPEN: u64 = 1 << 31;
const GENERATION: u64 = 1 << 32;
const INSIDE: u64 = OPEN - 1;

// SAFETY: `job` is the only field that is not already safe to share. It is
// written only by the holder of `Crew::turn` while the job is closed and
// nobody is inside, and read only by threads that are inside an open job; the
// release store to `state` that opens it comes after the write, and the
// acquire exchange by which a reader enters comes before the read. The closure
// it points to is `Sync`.
unsafe impl Sync for Desk {}
// SAFETY: the pointer in `job` is to a `Sync` closure and is only followed
// under the protocol above.
unsafe impl Send for Desk {}

thread_local! {
    /// Whether this thread is inside a job; a job inside a job runs inline.
    static BUSY: Cell<bool> = const { Cell::new(false) };
}

impl Crew {
    fn start(threads: usize) -> Result<Self, PoolError> {
        let desk = Arc::new(Desk {
            state: AtomicU64::new(0),
            job: UnsafeCell::new(None),
            next: AtomicUsize::new(0),
            panic: Mutex::new(None),
            closing: AtomicBool::new(false),
            sleepers: AtomicUsize::new(0),
            bed: Mutex::new(()),
            bell: Condvar::new(),
        });
        let mut crew = Self {
            desk,
            turn: Mutex::new(()),
            workers: Vec::with_capacity(threads - 1),
        };
        for index in 1..threads {
            let desk = Arc::clone(&crew.desk);
            let worker = std::thread::Builder::new()
                .name(format!("kernel-{index}"))
                .spawn(move || desk.work())
                .map_err(PoolError::Spawn)?;
            crew.workers.push(worker);
        }
        Ok(crew)
    }

    fn run(&self, tasks: usize, task: &Task<'_>) {
        if tasks <= 1 || self.workers.is_empty() || BUSY.get() {
            (0..tasks).for_each(task);
            return;
        }
        let Ok(turn) = self.turn.try_lock() else {
            (0..tasks).for_each(task);
            return;
        };
        let job = Job {
            // SAFETY: only the lifetime changes. The pointer is followed only
            // inside the job, and `Closed::drop` below does not return before
            // the job is closed and everybody has left it, also when `take`
            // unwinds.
            task: unsafe { std::mem::transmute::<*const Task<'_>, *const Task<'static>>(task) },
            tasks,
        };
        let closed = Closed(&self.desk);
        self.desk.open(job);
        self.desk.take(job);
        drop(closed);
        let panic = lock(&self.desk.panic).take();
        drop(turn);
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

/// Closes the job when it goes out of scope, and waits for those inside.
struct Closed<'a>(&'a Desk);

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        let state = &self.0.state;
        state.fetch_and(!OPEN, Ordering::AcqRel);
        let mut spins = 0_u32;
        while state.load(Ordering::Acquire) & INSIDE != 0 {
            spins = spins.wrapping_add(1);
            if spins.is_multiple_of(1024) {
                std::thread::yield_now();
            } else {
                std::hint::spin_loop();
            }
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.desk.closing.store(true, Ordering::SeqCst);
        self.desk.ring();
        for worker in self.workers.drain(..) {
            // A worker catches the panics of its tasks, so it cannot fail.
            let _ = worker.join();
        }
    }
}

impl Desk {
    /// Puts a job on the desk. The caller holds the turn, and nobody is inside.
    fn open(&self, job: Job) {
        // SAFETY: the last job was closed and left by everybody before its
        // owner gave up the turn, and no worker enters a closed job, so nobody
        // reads the cell now.
        unsafe { *self.job.get() = Some(job) };
        self.next.store(0, Ordering::Relaxed);
        let generation = self.state.load(Ordering::Relaxed) & !(GENERATION - 1);
        self.state
            .store(generation.wrapping_add(GENERATION) | OPEN, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            self.ring();
        }
    }

    fn ring(&self) {
        drop(lock(&self.bed));
        self.bell.notify_all();
    }

    /// Takes tasks until none is left. The caller is inside the job.
    fn take(&self, job: Job) {
        BUSY.set(true);
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= job.tasks {
                break;
            }
            // SAFETY: the job's owner keeps the closure alive until everybody
            // has left the job, and this thread is inside it.
            let task = unsafe { &*job.task };
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| task(index))) {
                lock(&self.panic).get_or_insert(panic);
            }
        }
        BUSY.set(false);
    }

    /// A worker's life.
    fn work(&self) {
        let mut last = 0;
        while let Some(generation) = self.wait(last) {
            last = generation;
            if self.enter(generation) {
                // SAFETY: this thread is inside an open job, so nobody writes
                // the cell, and the exchange in `enter` has acquired what the
                // owner wrote before it opened the job.
                let job = unsafe { *self.job.get() };
                if let Some(job) = job {
                    self.take(job);
                }
                self.state.fetch_sub(1, Ordering::Release);
            }
        }
    }

    /// Joins the job of `generation` if it is still open.
    fn enter(&self, generation: u64) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        while state & OPEN != 0 && state & !(GENERATION - 1) == generation {
            match self.state.compare_exchange_weak(
                state,
                state + 1,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    /// The generation of a job that is open and is not `last`, or `None` when
    /// the crew is dismissed.
    fn wait(&self, last: u64) -> Option<u64> {
        let since = Instant::now();
        while since.elapsed() < LINGER {
            for _ in 0..64 {
                if let Some(answer) = self.look(last) {
                    return answer;
                }
                std::hint::spin_loop();
            }
        }
        let mut bed = lock(&self.bed);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        // Either this look sees a job that was opened meanwhile, or its owner
        // sees the sleeper and rings once this thread has let go of the bed.
        let answer = loop {
            if let Some(answer) = self.look(last) {
                break answer;
            }
            bed = self.bell.wait(bed).unwrap_or_else(PoisonError::into_inner);
        };
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        answer
    }

    fn look(&self, last: u64) -> Option<Option<u64>> {
        if self.closing.load(Ordering::SeqCst) {
            return Some(None);
        }
        let state = self.state.load(Ordering::SeqCst);
        let generation = state & !(GENERATION - 1);
        (state & OPEN != 0 && generation != last).then_some(Some(generation))
    }
}

/// No code panics while it holds one of these locks.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
