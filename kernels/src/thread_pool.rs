//! A thread pool with fork-join jobs, shared by all kernels of a program.
//!
//! Answering one question takes thousands of small matrix products; starting
//! a thread for each would cost more than the product. Workers are started
//! once. The calling thread takes part in its own job, so a pool of one
//! thread has no workers at all.
//!
//! Threads take task indices from an atomic counter, so a core that is busy
//! with something else takes fewer. Results do not depend on which thread
//! runs which task, as long as every task writes only its own output.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::ThreadPoolError;
use crate::shared_slice::SharedSliceMut;
use crate::simd::isa::{Isa, IsaError};

/// How long an idle worker spins before it sleeps: longer than the gap between
/// two products of a decoder layer, far shorter than the gap between two
/// questions.
const SPIN_TIMEOUT: Duration = Duration::from_micros(100);

/// Worker threads that run one job at a time, and the instruction set that
/// their kernels use.
///
/// Cloning gives another handle to the same threads, which end when the last
/// handle is dropped.
#[derive(Clone)]
pub struct ThreadPool {
    workers: Arc<Workers>,
    // Invariant: available on this processor.
    isa: Isa,
}

impl ThreadPool {
    /// A pool of `threads` threads, the caller's included, with the instruction
    /// set of [`Isa::from_env`].
    pub fn new(threads: usize) -> Result<Self, ThreadPoolError> {
        let isa = Isa::from_env()?;
        if threads == 0 {
            return Err(ThreadPoolError::NoThreads);
        }
        log::debug!("thread pool: {threads} threads, {isa}");
        Ok(Self {
            workers: Arc::new(Workers::start(threads)?),
            isa,
        })
    }

    /// The same threads with another instruction set.
    pub fn with_isa(&self, isa: Isa) -> Result<Self, IsaError> {
        Ok(Self {
            workers: Arc::clone(&self.workers),
            isa: isa.checked()?,
        })
    }

    /// The number of threads, the caller's included.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.workers.handles.len() + 1
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
        self.workers.run(tasks, &task);
    }

    /// Cuts `values` into chunks of `chunk` elements (the last one may be
    /// shorter) and calls `task` once with each and its number.
    ///
    /// # Panics
    /// If `chunk` is zero, or as [`ThreadPool::run`].
    pub fn for_each_chunk<T, F>(&self, values: &mut [T], chunk: usize, task: F)
    where
        T: Send,
        F: Fn(usize, &mut [T]) + Sync,
    {
        let len = values.len();
        let chunks = len.div_ceil(chunk);
        let values = SharedSliceMut::new(values);
        self.run(chunks, |index| {
            let start = index * chunk;
            // SAFETY: every index is given to one call only, and the ranges
            // of different indices do not overlap.
            let part = unsafe { values.slice_mut(start..len.min(start + chunk)) };
            task(index, part);
        });
    }
}

impl std::fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ThreadPool")
            .field("threads", &self.threads())
            .field("isa", &self.isa)
            .finish()
    }
}

/// The worker threads and the state they share with the calling thread.
struct Workers {
    shared: Arc<Shared>,
    /// Held by the thread whose job is running.
    job_lock: Mutex<()>,
    handles: Vec<JoinHandle<()>>,
}

type Task<'a> = dyn Fn(usize) + Sync + 'a;

/// State shared by the caller and all workers.
///
/// `state` holds, from the top: a generation of 32 bits that grows with every
/// job, one bit that says whether the job is open, and the number of workers
/// that are inside it. A worker enters an open job by adding one. The owner
/// closes the job, waits until nobody is inside, and only then may the job's
/// closure die. A worker that wakes late finds the job closed and never
/// touches it; nobody waits for a sleeper.
struct Shared {
    state: AtomicU64,
    job: UnsafeCell<Option<Job>>,
    next: AtomicUsize,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    closing: AtomicBool,
    sleepers: AtomicUsize,
    sleep_lock: Mutex<()>,
    wakeup: Condvar,
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
// written only by the holder of `Workers::job_lock` while the job is closed and
// nobody is inside, and read only by threads that are inside an open job; the
// release store to `state` that opens it comes after the write, and the
// acquire exchange by which a reader enters comes before the read. The closure
// it points to is `Sync`.
unsafe impl Sync for Shared {}
// SAFETY: the pointer in `job` is to a `Sync` closure and is only followed
// under the protocol above.
unsafe impl Send for Shared {}

thread_local! {
    /// Whether this thread is inside a job; a job inside a job runs inline.
    static IN_JOB: Cell<bool> = const { Cell::new(false) };
}

impl Workers {
    fn start(threads: usize) -> Result<Self, ThreadPoolError> {
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            job: UnsafeCell::new(None),
            next: AtomicUsize::new(0),
            panic: Mutex::new(None),
            closing: AtomicBool::new(false),
            sleepers: AtomicUsize::new(0),
            sleep_lock: Mutex::new(()),
            wakeup: Condvar::new(),
        });
        let mut workers = Self {
            shared,
            job_lock: Mutex::new(()),
            handles: Vec::with_capacity(threads - 1),
        };
        for index in 1..threads {
            let shared = Arc::clone(&workers.shared);
            let worker = std::thread::Builder::new()
                .name(format!("kernel-{index}"))
                .spawn(move || shared.worker_loop())
                .map_err(ThreadPoolError::Spawn)?;
            workers.handles.push(worker);
        }
        Ok(workers)
    }

    fn run(&self, tasks: usize, task: &Task<'_>) {
        if tasks <= 1 || self.handles.is_empty() || IN_JOB.get() {
            (0..tasks).for_each(task);
            return;
        }
        let Ok(job_lock) = self.job_lock.try_lock() else {
            (0..tasks).for_each(task);
            return;
        };
        let job = Job {
            // SAFETY: only the lifetime changes. The pointer is followed only
            // inside the job, and `CloseOnDrop::drop` below does not return before
            // the job is closed and everybody has left it, also when `take`
            // unwinds.
            task: unsafe { std::mem::transmute::<*const Task<'_>, *const Task<'static>>(task) },
            tasks,
        };
        let closed = CloseOnDrop(&self.shared);
        self.shared.open_job(job);
        self.shared.run_tasks(job);
        drop(closed);
        let panic = lock(&self.shared.panic).take();
        drop(job_lock);
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

/// Closes the job when it goes out of scope, and waits for those inside.
struct CloseOnDrop<'a>(&'a Shared);

impl Drop for CloseOnDrop<'_> {
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

impl Drop for Workers {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        self.shared.wake_all();
        for worker in self.handles.drain(..) {
            // A worker catches the panics of its tasks, so it cannot fail.
            let _ = worker.join();
        }
    }
}

impl Shared {
    /// Publishes a job. The caller holds `job_lock`, and no worker is inside a job.
    fn open_job(&self, job: Job) {
        // SAFETY: the last job was closed and left by everybody before its
        // owner released `job_lock`, and no worker enters a closed job, so nobody
        // reads the cell now.
        unsafe { *self.job.get() = Some(job) };
        self.next.store(0, Ordering::Relaxed);
        let generation = self.state.load(Ordering::Relaxed) & !(GENERATION - 1);
        self.state
            .store(generation.wrapping_add(GENERATION) | OPEN, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            self.wake_all();
        }
    }

    fn wake_all(&self) {
        drop(lock(&self.sleep_lock));
        self.wakeup.notify_all();
    }

    /// Takes tasks until none is left. The caller is inside the job.
    fn run_tasks(&self, job: Job) {
        IN_JOB.set(true);
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
        IN_JOB.set(false);
    }

    /// A worker's life.
    fn worker_loop(&self) {
        let mut last = 0;
        while let Some(generation) = self.wait_for_job(last) {
            last = generation;
            if self.enter(generation) {
                // SAFETY: this thread is inside an open job, so nobody writes
                // the cell, and the exchange in `enter` has acquired what the
                // owner wrote before it opened the job.
                let job = unsafe { *self.job.get() };
                if let Some(job) = job {
                    self.run_tasks(job);
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
    /// the pool is shutting down.
    fn wait_for_job(&self, last: u64) -> Option<u64> {
        let since = Instant::now();
        while since.elapsed() < SPIN_TIMEOUT {
            for _ in 0..64 {
                if let Some(answer) = self.poll(last) {
                    return answer;
                }
                std::hint::spin_loop();
            }
        }
        let mut sleep_lock = lock(&self.sleep_lock);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        // Either this look sees a job that was opened meanwhile, or its owner
        // sees the sleeper and rings once this thread has let go of the sleep_lock.
        let answer = loop {
            if let Some(answer) = self.poll(last) {
                break answer;
            }
            sleep_lock = self
                .wakeup
                .wait(sleep_lock)
                .unwrap_or_else(PoisonError::into_inner);
        };
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        answer
    }

    fn poll(&self, last: u64) -> Option<Option<u64>> {
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
