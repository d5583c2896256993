//! The CMSDK UART, polled.

use core::{convert::Infallible, ptr};

use embedded_io::{ErrorType, Read, Write};

const DATA: usize = 0;
const STATE: usize = 1;
const CONTROL: usize = 2;
const DIVISOR: usize = 4;

const TRANSMIT_FULL: u32 = 1;
const RECEIVE_FULL: u32 = 2;

/// One UART. Invariant: `registers` are those of a CMSDK UART that nothing else uses.
pub struct Uart {
    registers: *mut u32,
}

impl Uart {
    /// UART0, which leads to the radio.
    pub fn radio() -> Self {
        Self::enable(0x4000_4000)
    }

    /// UART1, which leads to the companion computer.
    pub fn companion() -> Self {
        Self::enable(0x4000_5000)
    }

    fn enable(address: usize) -> Self {
        let mut uart = Self {
            registers: address as *mut u32,
        };
        // 25 MHz / 217 is 115,200 baud.
        uart.write_register(DIVISOR, 217);
        uart.write_register(CONTROL, 3);
        uart
    }

    /// Whether a byte is there to be read.
    pub fn has_input(&self) -> bool {
        self.read_register(STATE) & RECEIVE_FULL != 0
    }

    fn read_register(&self, register: usize) -> u32 {
        // SAFETY: the address is that of a register of this UART, by the type's invariant.
        unsafe { ptr::read_volatile(self.registers.add(register)) }
    }

    fn write_register(&mut self, register: usize, value: u32) {
        // SAFETY: as above; and `&mut self` is the only handle to it.
        unsafe { ptr::write_volatile(self.registers.add(register), value) }
    }
}

impl ErrorType for Uart {
    type Error = Infallible;
}

impl Read for Uart {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Infallible> {
        let mut count = 0;
        while count < into.len() && (count == 0 || self.has_input()) {
            while !self.has_input() {}
            into[count] = self.read_register(DATA) as u8;
            count += 1;
        }
        Ok(count)
    }
}

impl Write for Uart {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        for &byte in bytes {
            while self.read_register(STATE) & TRANSMIT_FULL != 0 {}
            self.write_register(DATA, byte.into());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        while self.read_register(STATE) & TRANSMIT_FULL != 0 {}
        Ok(())
    }
}
