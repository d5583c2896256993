//! One end of a link over TCP, on standard output: the other end for a program under development.
//!
//! ```text
//! cargo run -p deltavlm-node --example peer -- ground 127.0.0.1:7001 --ping 7
//! cargo run -p deltavlm-node --example peer -- board 127.0.0.1:7002 --alert 4711
//! ```

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    io::{self, Read, Write},
    net::TcpStream,
    process::ExitCode,
    time,
};

use deltavlm_link::{
    Config, Endpoint, Event, Instant, Role, pacing::Pacing, storage::MemoryStorage,
};
use deltavlm_messages::{Alert, CellSet, Confidence, MAX_BODY, Message};
use deltavlm_node::MESSAGE_TYPES;

const HELP: &str = "\
usage: peer board|ground HOST:PORT [--alert TILE] [--ping NUMBER] [--seconds N]

Sends the alert or the ping, and writes every event to standard output. Ends after N seconds [10], with
success if every message was delivered.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}\n\n{HELP}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &[String]) -> Result<bool, Box<dyn std::error::Error>> {
    let [role, address, options @ ..] = arguments else {
        return Err("a role and an address are needed".into());
    };
    let role = match role.as_str() {
        "board" => Role::Board,
        "ground" => Role::Ground,
        other => return Err(format!("{other} is neither board nor ground").into()),
    };
    let mut seconds = 10;
    let mut messages = Vec::new();
    for pair in options.chunks(2) {
        let [name, value] = pair else {
            return Err(format!("{} needs a value", pair[0]).into());
        };
        let number: u32 = value.parse()?;
        match name.as_str() {
            "--alert" => messages.push(alert(number)),
            "--ping" => messages.push(Message::Ping(number)),
            "--seconds" => seconds = number.into(),
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    let config = Config {
        pacing: Pacing::at_rate(960),
        // The hasher's keys come from the system's random source.
        seed: RandomState::new().build_hasher().finish(),
        message_types: MESSAGE_TYPES,
        ..Config::new(role)
    };
    let mut endpoint = Endpoint::new(config, MemoryStorage::<16_384>::new())?;
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(time::Duration::from_millis(5)))?;
    let start = time::Instant::now();
    for message in &messages {
        let mut body = [0; MAX_BODY];
        let length = message.encode(&mut body).ok_or("the message is too long")?;
        endpoint.send(message.kind() as u8, &body[..length], Instant::ZERO)?;
    }
    let mut delivered = 0;
    while start.elapsed() < time::Duration::from_secs(seconds) {
        let now = Instant::from_micros(u64::try_from(start.elapsed().as_micros())?);
        while let Some(frame) = endpoint.poll_transmit(now) {
            stream.write_all(frame)?;
        }
        let mut bytes = [0; 256];
        match stream.read(&mut bytes) {
            Ok(0) => break,
            Ok(count) => endpoint.receive(&bytes[..count], now),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) => {}
            Err(error) => return Err(error.into()),
        }
        while let Some(event) = endpoint.poll_event() {
            let seconds = start.elapsed().as_secs_f64();
            match &event {
                Event::Message { id, kind, body, .. } => {
                    println!("{seconds:.3} {id:?} {:?}", Message::decode(*kind, body));
                }
                event => println!("{seconds:.3} {event:?}"),
            }
            match event {
                Event::Delivered(_) => delivered += 1,
                Event::Message { id, .. } => endpoint.acknowledge(id),
                _ => {}
            }
        }
    }
    Ok(delivered == messages.len())
}

fn alert(tile: u32) -> Message {
    Message::Alert(Alert {
        tile,
        time: 0,
        confidence: Confidence::from_fraction(0.9),
        roads: 1,
        buildings: 2,
        roads_grid: CellSet::from_bits(0b1),
        buildings_grid: CellSet::from_bits(0b11),
        pair: 0,
    })
}
