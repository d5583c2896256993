//! A station on a terminal: what happens there as text or JSON.

use crate::arguments::LinkArgs;
use deltavlm_ground::{
    Station, StationConfig, StationEvent,
    geo::{self, Tiles},
    render,
};
use deltavlm_messages::Message;
use deltavlm_node::{CarrierEvent, LinkId, LinkSettings, SharedKey};
use serde_json::json;
use std::{
    error::Error,
    io::Write,
    path::PathBuf,
    time::{Duration, Instant},
};

const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// A station and how to show what happens there.
pub(crate) struct Console {
    pub(crate) station: Station,
    pub(crate) json: bool,
    pub(crate) geojson: Option<PathBuf>,
    pub(crate) tiles: Tiles,
    pub(crate) settings: LinkSettings,
}

impl Console {
    pub(crate) fn open(link: &LinkArgs) -> Result<Self, Box<dyn Error>> {
        let id = link.options.id();
        let key = link
            .key
            .as_deref()
            .map(|path| SharedKey::of_link(path, id))
            .transpose()?;
        let tiles = link
            .tiles
            .as_deref()
            .map(Tiles::read)
            .transpose()?
            .unwrap_or_default();
        let settings = link.options.settings()?;
        let station = Station::start(StationConfig {
            address: link.link.clone(),
            key,
            state: link.state.clone().map_or_else(|| default_state(id), Ok)?,
            mtu: link.mtu,
            rate: link.bytes_per_s,
            probe: Duration::from_secs(u64::from(link.probe_s)),
            link: settings.clone(),
        })?;
        let console = Self {
            station,
            json: link.json,
            geojson: link.geojson.clone(),
            tiles,
            settings,
        };
        console.write_geojson()?;
        Ok(console)
    }

    /// Shows what happens until `is_over` says so; false when time runs out first.
    pub(crate) fn run_until(
        &mut self,
        timeout: Option<Duration>,
        mut is_over: impl FnMut(&mut Station, &StationEvent) -> bool,
    ) -> Result<bool, Box<dyn Error>> {
        let start = Instant::now();
        while timeout.is_none_or(|timeout| start.elapsed() < timeout) {
            let mut over = false;
            for event in self.station.step(POLL_INTERVAL) {
                self.show(&event)?;
                over |= is_over(&mut self.station, &event);
            }
            if over {
                self.flush_acknowledgements();
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Gives the link a moment to acknowledge what came, so that the board stops sending it.
    pub(crate) fn flush_acknowledgements(&mut self) {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(300) {
            for event in self.station.step(Duration::from_millis(50)) {
                let _ = self.show(&event);
            }
        }
    }

    pub(crate) fn show(&self, event: &StationEvent) -> Result<(), Box<dyn Error>> {
        let (text, document) = match event {
            StationEvent::Recorded {
                message,
                pending,
                received,
            } => {
                if matches!(message, Message::Alert(_)) {
                    self.write_geojson()?;
                }
                let mut document = render::message_json(message, pending.as_ref());
                document["received"] = json!(received);
                (render::message_text(message, pending.as_ref()), document)
            }
            StationEvent::Expired(query) => (
                format!("EXPIRED #{query}: waited too long for contact and is given up; ask again"),
                json!({ "event": "expired", "query": query }),
            ),
            StationEvent::Denied(_) => (
                "DENIED  the board does not accept this station's frames: is --key the file that \
                 the board has?"
                    .to_owned(),
                json!({ "event": "denied" }),
            ),
            StationEvent::Health(health) => {
                (render::health_text(health), render::health_json(health))
            }
            StationEvent::Warning(warning) => (
                format!("WARNING {warning}"),
                json!({ "event": "warning", "text": warning }),
            ),
            StationEvent::LinkUp => ("CONTACT".to_owned(), json!({ "event": "link", "up": true })),
            StationEvent::LinkDown => (
                "NO CONTACT".to_owned(),
                json!({ "event": "link", "up": false }),
            ),
            StationEvent::BoardStarted => (
                "BOARD   its program started".to_owned(),
                json!({ "event": "board_started" }),
            ),
            StationEvent::Carrier(CarrierEvent::Closed(reason)) => {
                eprintln!("the line is not open: {reason}; trying again every two seconds");
                return Ok(());
            }
            StationEvent::StateFailed(problem) => {
                eprintln!("error: the state directory failed: {problem}");
                return Ok(());
            }
            _ => return Ok(()),
        };
        let mut out = std::io::stdout().lock();
        if self.json {
            writeln!(out, "{document}")?;
        } else {
            writeln!(out, "{text}")?;
        }
        out.flush()?;
        Ok(())
    }

    /// Why there may be no answer, as far as the link's counters tell.
    pub(crate) fn no_answer_hint(&self) -> &'static str {
        let counters = self.station.counters();
        if self.station.is_denied() {
            return "; the board does not accept this station's frames: is --key the file that it has?";
        }
        if counters.unknown_key > 0 || counters.bad_authentication > 0 {
            "; frames came that this key does not open: is --key the file that the board has?"
        } else if counters.unprotected > 0 {
            "; frames came without a signature: the board has no key"
        } else if counters.bytes_received == 0 {
            "; nothing at all was heard: check --link and the radio"
        } else {
            ""
        }
    }

    pub(crate) fn write_geojson(&self) -> Result<(), Box<dyn Error>> {
        let Some(path) = &self.geojson else {
            return Ok(());
        };
        let collection = geo::collection(self.station.record().entries(), &self.tiles);
        let temporary = path.with_extension("geojson.new");
        let write = || {
            std::fs::write(&temporary, serde_json::to_vec_pretty(&collection)?)?;
            std::fs::rename(&temporary, path)
        };
        write().map_err(|error: std::io::Error| format!("{}: {error}", path.display()))?;
        Ok(())
    }
}

/// A directory for each link: the records of two craft do not mix.
fn default_state(id: LinkId) -> Result<PathBuf, String> {
    let base = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")));
    let own = match (id.craft, id.station) {
        (0, 0) => String::new(),
        (craft, station) => format!("craft-{craft}-station-{station}"),
    };
    base.map(|base| base.join("dvlm-ground").join(own))
        .ok_or_else(|| "neither XDG_STATE_HOME nor HOME is set; give --state DIR".to_owned())
}
