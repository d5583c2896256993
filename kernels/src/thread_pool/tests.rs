use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

fn pool(threads: usize) -> ThreadPool {
    ThreadPool::new(threads).unwrap()
}

#[test]
fn every_task_runs_once() {
    for threads in [1, 2, 5] {
        let pool = pool(threads);
        for tasks in [0, 1, 2, 7, 1000] {
            let counts: Vec<_> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
            pool.run(tasks, |i| {
                counts[i].fetch_add(1, Ordering::Relaxed);
            });
            assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1));
        }
    }
}

#[test]
fn many_short_jobs_in_a_row() {
    let pool = pool(3);
    let total = AtomicUsize::new(0);
    for _ in 0..20_000 {
        pool.run(3, |i| {
            total.fetch_add(i, Ordering::Relaxed);
        });
    }
    assert_eq!(total.into_inner(), 60_000);
}

#[test]
fn sleeping_workers_wake_up() {
    let pool = pool(2);
    for _ in 0..20 {
        std::thread::sleep(SPIN_TIMEOUT * 20);
        let ids = Mutex::new(std::collections::HashSet::new());
        pool.run(2, |_| {
            lock(&ids).insert(std::thread::current().id());
            // Leaves the other task for the worker; ends when it came.
            while lock(&ids).len() < 2 {
                std::thread::yield_now();
            }
        });
        assert_eq!(lock(&ids).len(), 2);
    }
}

#[test]
fn a_job_inside_a_job_runs_inline() {
    let pool = pool(2);
    let total = AtomicUsize::new(0);
    pool.run(4, |_| {
        pool.run(5, |i| {
            total.fetch_add(i, Ordering::Relaxed);
        });
    });
    assert_eq!(total.into_inner(), 40);
}

#[test]
fn threads_may_share_a_pool() {
    let pool = pool(2);
    let total = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    pool.run(4, |i| {
                        total.fetch_add(i, Ordering::Relaxed);
                    });
                }
            });
        }
    });
    assert_eq!(total.into_inner(), 4 * 500 * 6);
}

#[test]
fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
    let pool = pool(2);
    for _ in 0..50 {
        let ran = AtomicUsize::new(0);
        let result = catch_unwind(AssertUnwindSafe(|| {
            pool.run(8, |i| {
                ran.fetch_add(1, Ordering::Relaxed);
                assert!(i != 3, "task three");
            });
        }));
        let payload = result.unwrap_err();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"task three"));
        assert_eq!(ran.into_inner(), 8);
    }
    let ran = AtomicUsize::new(0);
    pool.run(8, |_| {
        ran.fetch_add(1, Ordering::Relaxed);
    });
    assert_eq!(ran.into_inner(), 8);
}

#[test]
fn pieces_cover_the_slice() {
    let pool = pool(2);
    let mut values = vec![0; 10];
    pool.for_each_chunk(&mut values, 4, |index, part| part.fill(index + 1));
    assert_eq!(values, [1, 1, 1, 1, 2, 2, 2, 2, 3, 3]);
}

#[test]
fn no_threads_is_refused() {
    assert!(matches!(
        ThreadPool::new(0),
        Err(ThreadPoolError::NoThreads)
    ));
}
