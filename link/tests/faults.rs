//! What the link promises, under faults, in virtual time. The long runs are in `examples/simulate`.

use deltavlm_link::{
    Duration, Instant,
    auth::{Key, Keys, Protection},
    pacing::Contact,
    sim::{Burst, Faults, Mix, Report, Scenario, World},
};

fn nasty() -> Faults {
    Faults {
        loss: 0.3,
        duplicate: 0.1,
        reorder: 8,
        ber: 1e-4,
        ..Faults::default()
    }
}

fn protect(scenario: &mut Scenario, protection: Protection) {
    for config in [&mut scenario.board, &mut scenario.ground] {
        (config.uplink, config.downlink) = (protection, protection);
        config.keys = Keys::single(Key::new(1, b"sixteen letters."));
    }
}

fn assert_whole(report: &Report, messages: u64, what: &str) {
    assert_eq!(
        (report.lost, report.duplicated, report.altered),
        (0, 0, 0),
        "{what}: {report:?}"
    );
    assert!(
        report.delivered + report.uncertain >= messages,
        "{what}: {report:?}"
    );
    assert_eq!(
        report.idle_polls, 0,
        "{what}: a deadline came with nothing to do: {report:?}"
    );
}

#[test]
fn nothing_is_lost_doubled_or_altered_under_heavy_faults_and_power_cuts() {
    for seed in 0..4 {
        let mut scenario = Scenario::new(seed, 4_000);
        (scenario.down, scenario.up) = (nasty(), nasty());
        scenario.power_cuts = Some(Duration::from_secs(60));
        assert_whole(&World::new(scenario).run(), 4_000, "short messages");
    }
}

#[test]
fn messages_of_all_kinds_survive_small_frames_noise_and_bursts() {
    for (seed, protection) in [
        (1, Protection::Plain),
        (2, Protection::Authenticated),
        (3, Protection::AuthenticatedEncrypted),
    ] {
        let mut scenario = Scenario::new(seed, 1_500);
        scenario.mix = Mix::All;
        let burst = Some(Burst {
            begin: 0.02,
            end: 0.1,
            loss: 0.95,
        });
        let faults = Faults {
            reorder: 20,
            insert: 0.03,
            noise: 0.2,
            burst,
            ..nasty()
        };
        (scenario.down, scenario.up) = (faults.clone(), faults);
        (scenario.board.mtu, scenario.ground.mtu) = (32, 48);
        scenario.power_cuts = Some(Duration::from_secs(120));
        protect(&mut scenario, protection);
        assert_whole(&World::new(scenario).run(), 1_500, "all kinds");
    }
}

#[test]
fn rates_may_differ_thirtyfold_between_the_directions() {
    let mut scenario = Scenario::new(9, 1_000);
    scenario.mix = Mix::All;
    scenario.rate(6_000);
    scenario.ground.pacing.rate = 200;
    scenario.up = Faults {
        rate: 220,
        loss: 0.2,
        delay: Duration::from_millis(700),
        ..Faults::default()
    };
    scenario.down = Faults {
        loss: 0.2,
        delay: Duration::from_millis(700),
        ..scenario.down
    };
    assert_whole(&World::new(scenario).run(), 1_000, "asymmetric");
}

/// Bulk transfer from the board at each loss, against a selective repeat that knows at once what was
/// lost. Changes of a point or more show in the snapshot; `UPDATE=1` writes it anew.
#[test]
fn goodput_follows_the_curve() {
    let mut curve =
        String::from("loss  goodput / ideal selective repeat, 64-byte frames, 1200 B/s, 20 ms\n");
    for percent in (0..=50).step_by(5) {
        let mut scenario = Scenario::new(5, 200);
        (scenario.from_board, scenario.from_ground) = (200, 0);
        scenario.mix = Mix::Bulk;
        (scenario.board.mtu, scenario.ground.mtu) = (64, 64);
        scenario.rate(1_200);
        scenario.down.loss = f64::from(percent) / 100.0;
        scenario.up.loss = scenario.down.loss;
        let report = World::new(scenario).run();
        assert_whole(&report, 200, "bulk");
        let ideal = 1_200.0 * (1.0 - f64::from(percent) / 100.0) * 54.0 / 64.0;
        let fraction = report.payload_bytes_down as f64 / report.virtual_seconds / ideal;
        assert!(percent > 10 || fraction >= 0.7, "{percent} %: {fraction}");
        curve.push_str(&format!("{percent:3} %  {:3.0} %\n", fraction * 100.0));
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots/goodput.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &curve).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), curve);
}

/// Seven minutes every 95, for thirty days. With a schedule not a frame is sent in vain but what was
/// under way at the end of a contact; without one, only probes tell that it is over.
#[test]
fn every_contact_of_a_month_resumes_and_repeats_at_most_a_window() {
    for scheduled in [false, true] {
        let mut scenario = Scenario::new(3, 0);
        (scenario.from_board, scenario.mix) = (40_000, Mix::Bulk);
        // Frames of 255 bytes, and one every five seconds: a month is long enough.
        (scenario.board.mtu, scenario.ground.mtu) = (255, 255);
        scenario.rate(50);
        let (period, open) = (Duration::from_secs(95 * 60), Duration::from_secs(7 * 60));
        scenario.down.contact = Some((period, open));
        scenario.up.contact = Some((period, open));
        let mut world = World::new(scenario);
        let mut resent_before = 0;
        let mut seen_before = 0;
        for orbit in 0..30 * 24 * 60 / 95 {
            let start = Instant::ZERO + period.saturating_mul(orbit);
            if scheduled {
                let contact = Contact {
                    start,
                    end: start + open,
                };
                world.set_contacts(&[
                    contact,
                    Contact {
                        start: start + period,
                        end: start + period + open,
                    },
                ]);
            }
            while world.now() < start + period {
                world.step();
            }
            let report = world.report();
            let counters = world.sides[0].endpoint().unwrap().counters();
            let resent = counters.frames_resent - resent_before;
            // Without a schedule, up to four frames follow each of the eight timeouts.
            let probes = if scheduled { 0 } else { 8 * 4 };
            assert!(
                resent <= 64 + probes,
                "orbit {orbit}: {resent} frames sent again"
            );
            assert!(
                report.delivered > seen_before,
                "orbit {orbit} delivered nothing"
            );
            (resent_before, seen_before) = (counters.frames_resent, report.delivered);
        }
        let report = world.report();
        assert_eq!((report.duplicated, report.altered), (0, 0));
        let contact_seconds = 454.0 * 420.0;
        let used = report.payload_bytes_down as f64 / (contact_seconds * 50.0);
        assert!(used > 0.75, "contacts used to {used}");
    }
}
