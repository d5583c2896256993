//! What the worker has done, and what the ground is told of it.

use super::Host;
use crate::{
    analyzer::AnalysisError, event::HostEvent, journal::Decision, pair_files::PairFiles, policy,
    watch::FolderEvent, worker::WorkerEvent,
};
use deltavlm_messages::{FaultReason, Message, PairFault, Text};
use deltavlm_node::store::Salvage;
use std::time::Duration;

impl Host {
    pub(super) fn on_worker_event(&mut self, event: WorkerEvent) {
        match event {
            WorkerEvent::ModelReady { model } => {
                log::info!("model {model} is open");
                self.model.clone_from(&model);
                self.model_fault_reported = false;
                self.schedule_first_health();
                (self.observer)(HostEvent::ModelReady { model });
            }
            WorkerEvent::ModelUnavailable(error) => self.on_model_unavailable(&error),
            WorkerEvent::Folder(event) => self.on_folder(&event),
            WorkerEvent::Names(present) => {
                let forgotten = self.journal.prune(&present);
                log::info!("{} pairs without pictures are forgotten", forgotten.len());
                self.worker.forget(forgotten);
            }
            WorkerEvent::PairAnalyzed {
                pair,
                result,
                elapsed,
            } => self.on_pair_analyzed(&pair, result, elapsed),
            WorkerEvent::QueryAnswered {
                id,
                query,
                result,
                elapsed,
            } => {
                match result {
                    Ok(answer) => self.reply_queue.push_reply(Message::Answer(answer), id),
                    Err(reason) => self.refuse(id, query.id, reason),
                }
                (self.observer)(HostEvent::QueryAnswered { query, elapsed });
            }
            WorkerEvent::PreviewReady {
                id,
                request,
                result,
            } => match result {
                Ok(mut preview) => {
                    let last = preview.pop();
                    for chip in preview {
                        self.reply_queue.push(Message::Preview(chip));
                    }
                    if let Some(chip) = last {
                        self.reply_queue.push_reply(Message::Preview(chip), id);
                    }
                }
                Err(reason) => self.refuse(id, request.id, reason),
            },
        }
    }

    /// The ground is told once that the model cannot be opened; pairs wait until it can.
    pub(super) fn on_model_unavailable(&mut self, error: &AnalysisError) {
        log::error!("{error}; the next attempt is in a minute");
        if !self.model_fault_reported {
            self.model_fault_reported = true;
            self.report_board_fault(error.reason, &error.detail);
        }
        self.schedule_first_health();
        (self.observer)(HostEvent::ModelUnavailable {
            error: error.clone(),
        });
    }

    pub(super) fn on_folder(&mut self, event: &FolderEvent) {
        match event {
            FolderEvent::Unreadable { dir, reason } => {
                let dir = dir.display();
                log::error!("{dir}: {reason}; no pair is looked at until it can be read");
                self.report_board_fault(FaultReason::Unreadable, &format!("{dir}"));
            }
            FolderEvent::Readable { dir } => log::info!("{} can be read again", dir.display()),
        }
    }

    /// The ground is told that something may be missing, and where the damaged file is.
    pub(super) fn report_salvage(&mut self, salvage: &Salvage) {
        let file = salvage.quarantine.display();
        log::error!(
            "the store was damaged: {} records were kept; the damaged file is {file}",
            salvage.kept
        );
        let detail = format!("damaged store, {} records kept", salvage.kept);
        self.report_board_fault(FaultReason::Storage, &detail);
    }

    /// Tells the ground of something that is wrong with the board and with no pair.
    ///
    /// The ground shows the same fault once, so each has a number: the start of this program and
    /// its place since.
    pub(super) fn report_board_fault(&mut self, reason: FaultReason, detail: &str) {
        self.totals.board_faults += 1;
        let number = format!("{}.{}", self.node.boot_count(), self.totals.board_faults);
        self.reply_queue.push(Message::PairFault(PairFault {
            tile: 0,
            time: 0,
            reason,
            detail: Text::truncated(&format!("#{number} {detail}")),
        }));
    }

    pub(super) fn on_pair_analyzed(
        &mut self,
        pair: &PairFiles,
        result: Result<crate::Detection, AnalysisError>,
        elapsed: Duration,
    ) {
        self.totals.pairs += 1;
        let threshold = self
            .settings
            .overrides
            .min_confidence
            .unwrap_or(self.config.alert.min_confidence);
        let (alert, error, message) = match result {
            Ok(detection) => {
                let alert = policy::alert(&detection, threshold);
                log::info!(
                    "{}: {}, confidence {:.2}, {} ms{}",
                    pair.name,
                    if detection.change.is_some() {
                        "changed"
                    } else {
                        "not changed"
                    },
                    detection.confidence,
                    elapsed.as_millis(),
                    if alert.is_some() { ", alert" } else { "" }
                );
                (alert, None, alert.map(Message::Alert))
            }
            Err(error) => {
                log::warn!("{}: {error}", pair.name);
                let message = policy::fault(pair, &error);
                (None, Some(error), Some(message))
            }
        };
        self.totals.alerts += u32::from(alert.is_some());
        self.totals.faults += u32::from(error.is_some());
        self.journal.decide(Decision {
            name: pair.name.clone(),
            version: pair.version,
            message,
        });
        if self.journal.wants_pruning() {
            self.worker.list_names();
        }
        (self.observer)(HostEvent::PairAnalyzed {
            name: pair.name.clone(),
            alert,
            error,
            elapsed,
        });
    }
}
