//! A seeded run of both ends over a bad channel, in virtual time.
//!
//! ```text
//! cargo run --release -p deltavlm-link --example simulate -- \
//!     --seed 1 --messages 1000000 --loss 0.3 --duplicate 0.1 --reorder 8 --ber 1e-4 --reboots --json
//! ```

use std::process::ExitCode;

use deltavlm_link::{
    Duration, Endpoint,
    auth::{Key, Keys, Protection},
    sim::{Burst, Mix, Report, Scenario, World},
    storage::MemoryStorage,
};

const HELP: &str = "\
Sends messages through a simulated radio, with faults, and counts what comes out.

Usage: simulate [OPTIONS]

  --seed N          everything follows from it [1]
  --messages N      messages, half of them in each direction [10000]
  --loss P          probability that a frame vanishes [0]
  --duplicate P     probability that a frame comes twice [0]
  --reorder N       a frame may come after as many that were sent later [0]
  --ber P           probability that a bit is flipped [0]
  --insert P        probability that a byte is inserted into a frame [0]
  --noise P         probability that noise precedes a frame [0]
  --burst           bursts of ten frames on the mean in which 90 % are lost
  --reboots         power cuts at both ends, every 60 s on the mean, in the middle of storage calls
  --contact P,O     the channel is open in the first O of every P seconds
  --rate N          bytes per second [1200]
  --mtu N           bytes of the longest frame [128]
  --protection P    plain, signed or encrypted [plain]
  --mix M           short, all or bulk (from the board only) [short]
  --one-way         all messages come from the board
  --json            one JSON document on stdout
  --trace           every frame on stderr
";

struct Options {
    scenario: Scenario,
    json: bool,
    trace: bool,
    reproduce: String,
}

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("error: {error}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    let ideal = ideal_rate(&options.scenario);
    let mut world = World::new(options.scenario);
    if options.trace {
        world.trace();
    }
    let report = world.run();
    if options.json {
        println!("{}", json(&report, ideal));
    } else {
        print_report(&report, ideal);
    }
    if report.lost + report.duplicated + report.altered == 0 {
        return ExitCode::SUCCESS;
    }
    eprintln!("failed; to replay: simulate {} --trace", options.reproduce);
    ExitCode::FAILURE
}

/// Body bytes per second of a selective repeat that knows at once what was lost, in one direction:
/// frames of the same size and overhead, each sent once for every time it is lost and once more.
fn ideal_rate(scenario: &Scenario) -> f64 {
    let config = &scenario.board;
    let mtu = f64::from(config.mtu);
    let payload = deltavlm_link::frame::capacity(config.mtu, config.downlink, false) as f64;
    let intact = (1.0 - scenario.down.loss) * (1.0 - scenario.down.ber).powf(mtu * 8.0);
    f64::from(scenario.down.rate) * intact * payload / mtu
}

/// Memory of one end without its storage.
const STATE: usize = size_of::<Endpoint<&mut MemoryStorage<1>>>();

fn goodput_fraction(report: &Report, ideal: f64) -> f64 {
    report.payload_bytes_down as f64 / report.virtual_seconds / ideal
}

fn json(report: &Report, ideal: f64) -> String {
    format!(
        "{{\"delivered\":{},\"lost\":{},\"duplicated\":{},\"altered\":{},\"virtual_seconds\":{:.3},\
         \"bytes_on_air\":{},\"goodput_fraction\":{:.4},\"uncertain\":{},\"power_cuts\":{},\
         \"payload_bytes\":{},\"idle_polls\":{},\"state_bytes_per_end\":{STATE}}}",
        report.delivered,
        report.lost,
        report.duplicated,
        report.altered,
        report.virtual_seconds,
        report.bytes_on_air,
        goodput_fraction(report, ideal),
        report.uncertain,
        report.power_cuts,
        report.payload_bytes,
        report.idle_polls,
    )
}

fn print_report(report: &Report, ideal: f64) {
    println!("delivered          {}", report.delivered);
    println!("lost               {}", report.lost);
    println!("duplicated         {}", report.duplicated);
    println!("altered            {}", report.altered);
    println!(
        "uncertain          {}  (a power cut interrupted their acceptance)",
        report.uncertain
    );
    println!("power cuts         {}", report.power_cuts);
    println!("virtual time       {:.0} s", report.virtual_seconds);
    println!("bytes on the air   {}", report.bytes_on_air);
    println!("bytes of messages  {}", report.payload_bytes);
    println!(
        "goodput            {:.1} % of ideal selective repeat",
        100.0 * goodput_fraction(report, ideal)
    );
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let mut seed = 1;
    let mut messages = 10_000;
    let (mut json, mut trace, mut one_way) = (false, false, false);
    let mut words = Vec::new();
    let mut scenario = Scenario::new(seed, messages);
    let mut faults = scenario.down.clone();
    let mut rate = 1_200;
    while let Some(name) = arguments.next() {
        words.push(name.clone());
        let mut value = || {
            let value = arguments.next().ok_or(format!("{name} needs a value"))?;
            words.push(value.clone());
            Ok::<_, String>(value)
        };
        match name.as_str() {
            "--help" | "-h" => return Ok(None),
            "--seed" => seed = number(&name, &value()?)?,
            "--messages" => messages = number(&name, &value()?)?,
            "--loss" => faults.loss = probability(&name, &value()?)?,
            "--duplicate" => faults.duplicate = probability(&name, &value()?)?,
            "--reorder" => faults.reorder = number(&name, &value()?)?,
            "--ber" => faults.ber = probability(&name, &value()?)?,
            "--insert" => faults.insert = probability(&name, &value()?)?,
            "--noise" => faults.noise = probability(&name, &value()?)?,
            "--burst" => {
                faults.burst = Some(Burst {
                    begin: 0.01,
                    end: 0.1,
                    loss: 0.9,
                })
            }
            "--reboots" => scenario.power_cuts = Some(Duration::from_secs(60)),
            "--contact" => {
                let value = value()?;
                let (period, open) = value.split_once(',').ok_or("--contact needs PERIOD,OPEN")?;
                let seconds = |text: &str| number(&name, text).map(Duration::from_secs);
                faults.contact = Some((seconds(period)?, seconds(open)?));
            }
            "--rate" => rate = number(&name, &value()?)?,
            "--mtu" => {
                let mtu = number(&name, &value()?)?;
                (scenario.board.mtu, scenario.ground.mtu) = (mtu, mtu);
            }
            "--protection" => {
                let protection = match value()?.as_str() {
                    "plain" => Protection::Plain,
                    "signed" => Protection::Authenticated,
                    "encrypted" => Protection::AuthenticatedEncrypted,
                    other => {
                        return Err(format!(
                            "--protection {other} is none of plain, signed, encrypted"
                        ));
                    }
                };
                for config in [&mut scenario.board, &mut scenario.ground] {
                    (config.uplink, config.downlink) = (protection, protection);
                    config.keys = Keys::single(Key::new(1, b"simulated secret"));
                }
            }
            "--mix" => {
                scenario.mix = match value()?.as_str() {
                    "short" => Mix::Short,
                    "all" => Mix::All,
                    "bulk" => Mix::Bulk,
                    other => return Err(format!("--mix {other} is none of short, all, bulk")),
                }
            }
            "--one-way" => one_way = true,
            "--json" => json = true,
            "--trace" => trace = true,
            other => return Err(format!("unknown option {other}")),
        }
    }
    let fresh = Scenario::new(seed, messages);
    (scenario.seed, scenario.board.seed, scenario.ground.seed) =
        (seed, fresh.board.seed, fresh.ground.seed);
    (scenario.from_board, scenario.from_ground) = if one_way {
        (messages, 0)
    } else {
        (fresh.from_board, fresh.from_ground)
    };
    scenario.down = faults.clone();
    scenario.up = faults;
    if rate == 0 {
        return Err("--rate must be over zero".into());
    }
    scenario.rate(rate);
    scenario.board.check().map_err(|error| error.to_string())?;
    Ok(Some(Options {
        scenario,
        json,
        trace,
        reproduce: words.join(" "),
    }))
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("{name} {text} is not a number in range"))
}

fn probability(name: &str, text: &str) -> Result<f64, String> {
    let value: f64 = number(name, text)?;
    if (0.0..=1.0).contains(&value) {
        Ok(value)
    } else {
        Err(format!("{name} {text} is not between 0 and 1"))
    }
}
