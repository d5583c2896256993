//! The service's end of the worker: its thread, its queues and whether it is alive.

use crate::{
    activity::Activity,
    error::HostError,
    pair_files::PairVersion,
    worker::{OpenModel, Task, Worker, WorkerConfig, WorkerEvent},
};
use std::{
    collections::HashMap,
    io,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, TryRecvError, channel},
    },
    thread,
};

/// A running worker. It ends when this is dropped.
pub(crate) struct WorkerHandle {
    /// The only lasting sender: the worker notices when it is gone.
    tasks: Arc<Sender<Task>>,
    events: Receiver<WorkerEvent>,
    activity: Arc<Activity>,
    /// Requests of the ground that the worker has and has not answered.
    in_flight: usize,
}

impl WorkerHandle {
    pub(crate) fn start(
        open: OpenModel,
        config: WorkerConfig,
        handled: HashMap<String, PairVersion>,
    ) -> io::Result<Self> {
        let (tasks, task_queue) = channel();
        let (event_sender, events) = channel();
        let (tasks, activity) = (Arc::new(tasks), Arc::new(Activity::new()));
        let mut worker = Worker::new(open, config, handled, event_sender, Arc::clone(&activity));
        worker.notify(Arc::downgrade(&tasks));
        thread::Builder::new()
            .name("worker".to_owned())
            .spawn(move || worker.run(&task_queue))?;
        Ok(Self {
            tasks,
            events,
            activity,
            in_flight: 0,
        })
    }

    /// Requests that were submitted and not answered yet.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Has the worker do something for the ground.
    pub(crate) fn submit(&mut self, task: Task) {
        self.in_flight += 1;
        // A worker that is gone is noticed by `next_event`.
        let _ = self.tasks.send(task);
    }

    /// Asks for the names of all pairs.
    pub(crate) fn list_names(&mut self) {
        let _ = self.tasks.send(Task::ListNames);
    }

    /// Has the worker forget pairs whose pictures are gone.
    pub(crate) fn forget(&mut self, names: Vec<String>) {
        let _ = self.tasks.send(Task::Forget(names));
    }

    /// What the worker has done since it was last asked.
    ///
    /// # Errors
    /// It is gone, or has been at one job for longer than that may take.
    pub(crate) fn next_event(&mut self) -> Result<Option<WorkerEvent>, HostError> {
        match self.events.try_recv() {
            Ok(event) => {
                let answers = matches!(
                    event,
                    WorkerEvent::QueryAnswered { .. } | WorkerEvent::PreviewReady { .. }
                );
                self.in_flight -= usize::from(answers && self.in_flight > 0);
                Ok(Some(event))
            }
            Err(TryRecvError::Disconnected) => Err(HostError::WorkerEnded),
            Err(TryRecvError::Empty) if self.activity.is_overdue() => Err(HostError::WorkerHangs),
            Err(TryRecvError::Empty) => Ok(None),
        }
    }
}
