//! No alert is lost and none is shown twice, whatever happens to the on-board program, to the
//! ground program and to the radio between them.

mod common;

use common::{PixelAnalyzer, deliver_pair, host_config, listen, station};
use deltavlm_demo::radio::{ChannelModel, Radio};
use deltavlm_host::{Analyzer, Config, Host};
use deltavlm_messages::Message;
use deltavlm_node::Address;
use std::{
    collections::BTreeMap,
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::AtomicBool,
    time::Duration,
};

const CHILD: &str = "DELTAVLM_TEST_HOST";
const BAUD: u32 = 57_600;

/// Not a test of its own: the on-board program, when another test starts it as a process.
#[test]
fn the_on_board_program_as_a_process() {
    let Some(dir) = std::env::var_os(CHILD) else {
        return;
    };
    let config = Config::read(&Path::new(&dir).join("host.toml")).unwrap();
    let open = Box::new(|| Ok(Box::new(PixelAnalyzer) as Box<dyn Analyzer>));
    Host::start(config, open)
        .unwrap()
        .run(&AtomicBool::new(false))
        .unwrap();
}

fn start_host(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "the_on_board_program_as_a_process",
            "--nocapture",
        ])
        .env(CHILD, dir)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn alerts(messages: &[Message]) -> BTreeMap<u32, usize> {
    let mut tiles = BTreeMap::new();
    for message in messages {
        if let Message::Alert(alert) = message {
            *tiles.entry(alert.tile).or_default() += 1;
        }
    }
    tiles
}

/// The board loses power nine times in the middle of its work, the ground program is started
/// three times, a fifth of the frames is lost and contact breaks: every changed pair is shown
/// exactly once.
#[test]
fn power_cuts_restarts_loss_and_a_gap_leave_every_alert_shown_once() {
    let dir = tempfile::tempdir().unwrap();
    let channel = ChannelModel {
        baud: BAUD,
        loss: 0.2,
        bit_errors: 1e-4,
        seed: 11,
    };
    let radio = Radio::start(channel).unwrap();
    let address = |path: &Path| Address::Serial {
        path: path.to_owned(),
        baud: BAUD,
    };
    let config = host_config(dir.path(), &address(&radio.board));
    std::fs::write(dir.path().join("host.toml"), config).unwrap();
    let state = dir.path().join("ground");

    let mut shown = Vec::new();
    let mut expected = BTreeMap::new();
    let mut tile = 0;
    for round in 0..9 {
        for _ in 0..4 {
            tile += 1;
            let changed = tile % 3 != 0;
            deliver_pair(dir.path(), &format!("tile_{tile}"), changed);
            if changed {
                expected.insert(tile, 1);
            }
        }
        radio.set_contact(round % 3 != 1);
        let mut host = start_host(dir.path());
        let mut ground = station(&state, address(&radio.ground));
        let mut turns = 0;
        shown.extend(listen(&mut ground, Duration::from_secs(30), |_| {
            turns += 1;
            turns > 20 + 7 * round
        }));
        // SIGKILL: no destructor runs, no buffer is flushed.
        host.kill().unwrap();
        host.wait().unwrap();
    }
    radio.set_contact(true);
    let mut host = start_host(dir.path());
    let mut ground = station(&state, address(&radio.ground));
    let before = shown.clone();
    let rest = listen(&mut ground, Duration::from_secs(60), |messages| {
        let all = [before.as_slice(), messages].concat();
        alerts(&all).len() == expected.len()
    });
    shown.extend(rest);
    // Whatever is still on its way may come now: it must not be shown again.
    let mut turns = 0;
    shown.extend(listen(&mut ground, Duration::from_secs(30), |_| {
        turns += 1;
        turns > 100
    }));
    host.kill().unwrap();
    host.wait().unwrap();
    assert_eq!(alerts(&shown), expected);
    assert_eq!(ground.record().entries().len(), shown.len());
    assert!(radio.log().len() > 50, "the radio carried all of this");
}
