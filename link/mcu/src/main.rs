//! A radio board between a companion computer and the radio.
//!
//! To the companion computer (UART1) it is the ground, to the ground (UART0) it is the board. What
//! comes from one goes to the other; a ping from the ground it answers itself. A message is accepted
//! from one side only when it is in the storage of the other, so the relay loses none.

#![no_std]
#![no_main]

mod uart;

use core::sync::atomic::{AtomicU32, Ordering};

use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::{entry, exception};
use deltavlm_link::{
    Config, Endpoint, Event, Instant, MessageTypes, Role, io, message_types::KindSet,
    pacing::Pacing, storage::MemoryStorage, storage::Storage,
};
use deltavlm_messages::Kind;
use panic_halt as _;

use uart::Uart;

/// One end, with two kilobytes for messages.
type End = Endpoint<MemoryStorage<2048>>;

/// Cycles of the system clock in a millisecond.
const CYCLES: u32 = 25_000;

/// Milliseconds since the start, up to 49 days; the link takes the step back to zero in its stride.
static MILLIS: AtomicU32 = AtomicU32::new(0);

#[exception]
fn SysTick() {
    MILLIS.store(
        MILLIS.load(Ordering::Relaxed).wrapping_add(1),
        Ordering::Relaxed,
    );
}

#[entry]
fn main() -> ! {
    let Some(mut core) = cortex_m::Peripherals::take() else {
        loop {}
    };
    core.SYST.set_clock_source(SystClkSource::Core);
    core.SYST.set_reload(CYCLES - 1);
    core.SYST.clear_current();
    core.SYST.enable_counter();
    core.SYST.enable_interrupt();

    let (mut radio, mut companion) = (Uart::radio(), Uart::companion());
    let (mut to_ground, mut to_companion) = (None, None);
    start(&mut to_ground, config(Role::Board, 960));
    start(&mut to_companion, config(Role::Ground, 11_000));
    let (Some(to_ground), Some(to_companion)) = (&mut to_ground, &mut to_companion) else {
        loop {}
    };
    loop {
        let now = Instant::from_millis(MILLIS.load(Ordering::Relaxed).into());
        serve(to_ground, &mut radio, now);
        serve(to_companion, &mut companion, now);
        relay(to_ground, to_companion, now);
        relay(to_companion, to_ground, now);
    }
}

/// Starts an end in its place. In a function of its own, so that the stack it needs is free again.
#[inline(never)]
fn start(place: &mut Option<End>, config: Config) {
    *place = Endpoint::new(config, MemoryStorage::new()).ok();
}

fn config(role: Role, rate: u32) -> Config {
    Config {
        mtu: 128,
        pacing: Pacing::at_rate(rate),
        seed: 0x5EED,
        message_types: MESSAGE_TYPES,
        ..Config::new(role)
    }
}

/// The relay knows which messages are commands, and reads none of the others: the ends do.
const MESSAGE_TYPES: MessageTypes = MessageTypes {
    validate: |_, _| Ok(()),
    commands: KindSet::of(&[
        Kind::Query as u8,
        Kind::PreviewRequest as u8,
        Kind::Configure as u8,
        Kind::Ping as u8,
    ]),
};

/// Moves bytes between an end and its UART, as many as there are.
fn serve<S: Storage>(endpoint: &mut Endpoint<S>, uart: &mut Uart, now: Instant) {
    while uart.has_input() {
        let Ok(_) = io::receive(endpoint, uart, now);
    }
    let Ok(_) = io::transmit(endpoint, uart, now);
}

/// Passes on what came from one side.
fn relay<S: Storage>(from: &mut Endpoint<S>, to: &mut Endpoint<S>, now: Instant) {
    while let Some(event) = from.poll_event() {
        let Event::Message { id, kind, body, .. } = event else {
            continue;
        };
        let passed = if kind == Kind::Ping as u8 {
            // A pong gives the number of the ping back, and both bodies are that number alone.
            from.send(Kind::Pong as u8, &body, now)
        } else {
            to.send(kind, &body, now)
        };
        if passed.is_err() {
            // There is no room now. It stays in storage and comes again.
            from.defer(id);
            return;
        }
        from.acknowledge(id);
    }
}
