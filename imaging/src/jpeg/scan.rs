//! One scan: coefficients of one or more components, whole or in part.

use super::bytes::damaged;
use super::entropy::{Bits, Huffman, Tables, ZIGZAG};
use super::frame::Frame;
use crate::error::ImageFault;

/// What a scan adds to the coefficients.
struct Part {
    first: usize,
    last: usize,
    /// Bits known before this scan; 0 for a first pass.
    high: u32,
    low: u32,
}

/// What the decoder carries from block to block.
#[derive(Default)]
struct State {
    predictions: [i32; 4],
    /// Blocks that are still to be left as they are.
    end_run: u32,
}

/// A component of the scan: its place in the frame, and its tables.
struct Member<'t> {
    index: usize,
    dc: Option<&'t Huffman>,
    ac: Option<&'t Huffman>,
}

/// Reads a scan; returns the number of bytes of coded data.
pub(super) fn read(
    frame: &mut Frame,
    tables: &Tables,
    header: &[u8],
    data: &[u8],
) -> Result<usize, ImageFault> {
    let too_short = || damaged("a scan header is too short");
    let (&count, rest) = header.split_first().ok_or_else(too_short)?;
    let count = usize::from(count);
    let (selectors, rest) = rest.split_at_checked(2 * count).ok_or_else(too_short)?;
    let &[first, last, bits, ..] = rest else {
        return Err(too_short());
    };
    let part = if frame.is_progressive {
        Part {
            first: usize::from(first),
            last: usize::from(last),
            high: u32::from(bits >> 4),
            low: u32::from(bits & 15),
        }
    } else {
        Part {
            first: 0,
            last: 63,
            high: 0,
            low: 0,
        }
    };
    let mixed = part.first == 0 && part.last > 0 && frame.is_progressive;
    if part.first > part.last
        || part.last > 63
        || part.low > 13
        || mixed
        || (part.first > 0 && count != 1)
    {
        return Err(damaged("an impossible scan"));
    }

    let mut members = Vec::new();
    for selector in selectors.chunks_exact(2) {
        let index = frame
            .components
            .iter()
            .position(|component| component.id == selector[0]);
        let index = index.ok_or_else(|| damaged("a scan of an unknown component"))?;
        let component = &mut frame.components[index];
        if component.table.is_none() {
            component.table = tables.quantisation[component.quantisation];
        }
        if component.table.is_none() {
            return Err(damaged("a quantisation table is missing"));
        }
        if component.coefficients.is_empty() {
            component.coefficients = vec![[0; 64]; component.blocks.0 * component.blocks.1];
        }
        let table = |class: &'_ [Option<Huffman>; 4], slot: u8| usize::from(slot) < class.len();
        if !table(&tables.dc, selector[1] >> 4) || !table(&tables.ac, selector[1] & 15) {
            return Err(damaged("a Huffman table beyond the fourth"));
        }
        members.push(Member {
            index,
            dc: tables.dc[usize::from(selector[1] >> 4)].as_ref(),
            ac: tables.ac[usize::from(selector[1] & 15)].as_ref(),
        });
    }

    let mut bits = Bits::new(data);
    let mut state = State::default();
    match members.as_slice() {
        [] => return Err(damaged("a scan of nothing")),
        [only] => {
            // A component alone is coded block by block, without padding.
            let component = &frame.components[only.index];
            let (across, down) = (component.width.div_ceil(8), component.height.div_ceil(8));
            for unit in 0..across * down {
                restart(&mut bits, &mut state, tables, unit)?;
                let place = (unit / across, unit % across);
                block(frame, only, place, &part, &mut state, &mut bits)?;
            }
        }
        _ => {
            let (across, down) = frame.mcus;
            for unit in 0..across * down {
                restart(&mut bits, &mut state, tables, unit)?;
                for member in &members {
                    let (h, v) = (
                        frame.components[member.index].h,
                        frame.components[member.index].v,
                    );
                    for inner in 0..h * v {
                        let place = (unit / across * v + inner / h, unit % across * h + inner % h);
                        block(frame, member, place, &part, &mut state, &mut bits)?;
                    }
                }
            }
        }
    }
    Ok(bits.position())
}

fn restart(
    bits: &mut Bits<'_>,
    state: &mut State,
    tables: &Tables,
    unit: usize,
) -> Result<(), ImageFault> {
    if tables.restart_interval > 0 && unit > 0 && unit.is_multiple_of(tables.restart_interval) {
        bits.restart()?;
        *state = State::default();
    }
    Ok(())
}

fn block(
    frame: &mut Frame,
    member: &Member<'_>,
    (row, column): (usize, usize),
    part: &Part,
    state: &mut State,
    bits: &mut Bits<'_>,
) -> Result<(), ImageFault> {
    let is_progressive = frame.is_progressive;
    let component = &mut frame.components[member.index];
    let block = &mut component.coefficients[row * component.blocks.0 + column];
    let missing = || damaged("a Huffman table is missing");
    let prediction = &mut state.predictions[member.index];
    if part.first == 0 {
        if part.high > 0 {
            if bits.bit()? {
                block[0] |= 1 << part.low;
            }
        } else {
            let size = bits.symbol(member.dc.ok_or_else(missing)?)?;
            *prediction = prediction.wrapping_add(bits.signed(u32::from(size))?);
            block[0] = (*prediction << part.low) as i16;
        }
    }
    if part.last == 0 {
        return Ok(());
    }
    let ac = member.ac.ok_or_else(missing)?;
    if !is_progressive {
        whole(block, ac, bits)
    } else if part.high == 0 {
        first_pass(block, ac, part, &mut state.end_run, bits)
    } else {
        refine(block, ac, part, &mut state.end_run, bits)
    }
}

/// All of a block's coefficients but the first.
fn whole(block: &mut [i16; 64], ac: &Huffman, bits: &mut Bits<'_>) -> Result<(), ImageFault> {
    let mut at = 1;
    while at < 64 {
        let symbol = bits.symbol(ac)?;
        let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        if size == 0 {
            if run != 15 {
                break;
            }
            at += 16;
            continue;
        }
        at += run;
        set(block, at, bits.signed(size)?)?;
        at += 1;
    }
    Ok(())
}

fn set(block: &mut [i16; 64], at: usize, value: i32) -> Result<(), ImageFault> {
    let place = ZIGZAG
        .get(at)
        .ok_or_else(|| damaged("a coefficient beyond its block"))?;
    block[*place] = value as i16;
    Ok(())
}

fn first_pass(
    block: &mut [i16; 64],
    ac: &Huffman,
    part: &Part,
    end_run: &mut u32,
    bits: &mut Bits<'_>,
) -> Result<(), ImageFault> {
    if *end_run > 0 {
        *end_run -= 1;
        return Ok(());
    }
    let mut at = part.first;
    while at <= part.last {
        let symbol = bits.symbol(ac)?;
        let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        if size > 0 {
            at += run;
            set(block, at, bits.signed(size)? << part.low)?;
            at += 1;
        } else if run == 15 {
            at += 16;
        } else {
            *end_run = (1 << run) + bits.bits(run as u32)? - 1;
            break;
        }
    }
    Ok(())
}

/// One more bit of what is known, and coefficients that become known with it.
fn refine(
    block: &mut [i16; 64],
    ac: &Huffman,
    part: &Part,
    end_run: &mut u32,
    bits: &mut Bits<'_>,
) -> Result<(), ImageFault> {
    let bit = 1i16 << part.low;
    let mut at = part.first;
    if *end_run == 0 {
        while at <= part.last {
            let symbol = bits.symbol(ac)?;
            let (mut run, size) = (u32::from(symbol >> 4), symbol & 15);
            let mut fresh = 0;
            if size > 0 {
                fresh = if bits.bit()? { bit } else { -bit };
            } else if run != 15 {
                *end_run = (1 << run) + bits.bits(run)?;
                break;
            }
            while at <= part.last {
                let value = &mut block[ZIGZAG[at]];
                if *value != 0 {
                    sharpen(value, bit, bits)?;
                } else if run == 0 {
                    *value = fresh;
                    at += 1;
                    break;
                } else {
                    run -= 1;
                }
                at += 1;
            }
        }
    }
    if *end_run > 0 {
        for &place in &ZIGZAG[at..=part.last] {
            if block[place] != 0 {
                sharpen(&mut block[place], bit, bits)?;
            }
        }
        *end_run -= 1;
    }
    Ok(())
}

fn sharpen(value: &mut i16, bit: i16, bits: &mut Bits<'_>) -> Result<(), ImageFault> {
    if bits.bit()? && *value & bit == 0 {
        *value = if *value >= 0 {
            value.wrapping_add(bit)
        } else {
            value.wrapping_sub(bit)
        };
    }
    Ok(())
}
