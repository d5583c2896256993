//! The command line.

use crate::link_options::LinkOptions;
use clap::{Args, Parser, Subcommand};
use deltavlm_messages::{Instruction, PreviewImage};
use deltavlm_node::Address;
use std::path::PathBuf;

/// Shows the change alerts of a board, asks it questions, keeps the record.
///
///   dvlm-ground keygen --out link.key                      # once; copy it to the board
///   dvlm-ground listen --link serial:/dev/ttyUSB0:57600 --key link.key
///   dvlm-ground ask    --link ... --key link.key --tile tile_17 --instruction count
///   dvlm-ground ask    --link ... --key link.key --tile tile_17 --question "Is there a new road?"
///
/// Only one of these can use a link at a time; `ask` shows the alerts that come in meanwhile.
/// Everything that came is in the record under --state and is shown once.
#[derive(Parser)]
#[command(name = "dvlm-ground", version, verbatim_doc_comment)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Show alerts, faults and late answers as they come in, until killed.
    Listen {
        #[command(flatten)]
        link: LinkArgs,
        /// End after this many seconds.
        #[arg(long, value_name = "SECONDS")]
        seconds: Option<f64>,
        /// Show what is in the record first.
        #[arg(long)]
        all: bool,
    },
    /// Ask about a tile and wait for the answer. Ends with 0 when answered, 3 when refused,
    /// 4 when no answer came in time (it is shown by the next `listen` or `ask`).
    Ask {
        #[command(flatten)]
        link: LinkArgs,
        /// The tile: its name on board, or its number.
        #[arg(long)]
        tile: String,
        #[command(flatten)]
        what: PromptArgs,
        /// Say what the question would cost on the air, and do not send it.
        #[arg(long)]
        quote: bool,
        /// Continue the dialogue that ended with this query.
        #[arg(long, value_name = "QUERY")]
        after: Option<u16>,
        /// Wait this many seconds for each answer.
        #[arg(long, value_name = "SECONDS", default_value_t = 120.0)]
        timeout: f64,
    },
    /// Ask whether the board is there and how it is doing.
    Status {
        #[command(flatten)]
        link: LinkArgs,
        /// Wait this many seconds.
        #[arg(long, value_name = "SECONDS", default_value_t = 30.0)]
        timeout: f64,
    },
    /// Fetch a small picture of a tile, coarse first.
    Chip {
        #[command(flatten)]
        link: LinkArgs,
        /// The tile: its name on board, or its number.
        #[arg(long)]
        tile: String,
        /// Which picture.
        #[arg(long, value_enum, default_value_t = PreviewImage::After)]
        picture: PreviewImage,
        /// The finest level: 0 is 32 pixels a side, 3 is 256.
        #[arg(long, default_value_t = 1)]
        level: u8,
        /// Where to write FILE-32.jpg, FILE-64.jpg and so on.
        #[arg(long, value_name = "FILE", default_value = "chip")]
        out: PathBuf,
        /// Wait this many seconds.
        #[arg(long, value_name = "SECONDS", default_value_t = 600.0)]
        timeout: f64,
    },
    /// Change a setting of the board.
    Set {
        #[command(flatten)]
        link: LinkArgs,
        #[command(flatten)]
        setting: SettingArgs,
        /// Wait this many seconds.
        #[arg(long, value_name = "SECONDS", default_value_t = 60.0)]
        timeout: f64,
    },
    /// Give up a question that has not reached the board yet. Ends with 3 when it is too late.
    Cancel {
        #[command(flatten)]
        link: LinkArgs,
        /// The question's number.
        query: u16,
    },
    /// Draw a new key for the link, of which the board and the ground get the same file; or a master
    /// secret for a fleet, and from it the key of one board.
    Keygen(KeygenArgs),
}

#[derive(Args)]
pub(crate) struct KeygenArgs {
    /// The file to write; an existing one is left alone.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// The key's number; the next key's is one higher.
    #[arg(long, default_value_t = 1)]
    pub(crate) id: u32,
    /// Draw a master secret instead. It stays on the ground: `--key` takes it in the place of a key.
    #[arg(long)]
    pub(crate) master: bool,
    /// Make the key of one board from this master secret.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["master", "id"])]
    pub(crate) from: Option<PathBuf>,
    /// The board's craft number.
    #[arg(long, value_name = "NUMBER", default_value_t = 0, requires = "from")]
    pub(crate) craft: u16,
    /// The number of the station that the board talks to.
    #[arg(long, value_name = "NUMBER", default_value_t = 0, requires = "from", value_parser = clap::value_parser!(u8).range(..=127))]
    pub(crate) station: u8,
}

#[derive(Args)]
pub(crate) struct LinkArgs {
    /// serial:PATH:BAUD, tcp:HOST:PORT, tcp-listen:HOST:PORT, udp:HOST:PORT or udp-listen:HOST:PORT
    #[arg(long)]
    pub(crate) link: Address,
    /// The key file that the board has as well, or the master secret that its key was made from.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) options: LinkOptions,
    /// Where the record is kept [default: dvlm-ground under XDG_STATE_HOME or ~/.local/state, and in it
    /// a folder for each craft and station but 0].
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// Print one JSON document for each event, and nothing else.
    #[arg(long)]
    pub(crate) json: bool,
    /// Keep this GeoJSON file up to date with all alerts.
    #[arg(long, value_name = "FILE")]
    pub(crate) geojson: Option<PathBuf>,
    /// Where tiles lie: {"tiles": {"NAME": [west, south, east, north]}} or
    /// {"grid": {"west", "north", "width", "height", "columns", "first"}}.
    #[arg(long, value_name = "FILE")]
    pub(crate) tiles: Option<PathBuf>,
    /// The longest frame in bytes, 32 to 255.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u8).range(32..))]
    pub(crate) mtu: u8,
    /// Bytes per second on the air [default: nine tenths of what a serial device carries].
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) bytes_per_s: Option<u32>,
    /// The longest pause between two attempts to reach a board that is not heard.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) probe_s: u32,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct PromptArgs {
    /// A fixed instruction.
    #[arg(long, value_enum)]
    pub(crate) instruction: Option<Instruction>,
    /// A question in free words; several are turns of one dialogue.
    #[arg(long, value_name = "TEXT")]
    pub(crate) question: Vec<String>,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct SettingArgs {
    /// Raise alerts from this confidence on, 0.5 to 1.
    #[arg(long, value_name = "CONFIDENCE")]
    pub(crate) alert_threshold: Option<f32>,
    /// Seconds between health messages; 0 for none.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) health_interval: Option<u32>,
    /// Send at most this many bytes in a second.
    #[arg(long, value_name = "BYTES")]
    pub(crate) rate: Option<u32>,
    /// Send nothing at all for this many seconds.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) quiet: Option<u32>,
}
