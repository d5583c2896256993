//! Writes the pickle of a `torch.save` file.

use super::Entry;
use crate::source::Element;

/// Instructions of a pickle, protocol 2, in the order `torch.save` gives them.
#[derive(Debug)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn new() -> Self {
        Self(b"\x80\x02".to_vec())
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.0.push(b'.');
        self.0
    }

    /// An empty dict, then `fill` between mark and set-items.
    pub(super) fn dict(&mut self, fill: impl FnOnce(&mut Self)) {
        self.0.extend(b"}(");
        fill(self);
        self.0.push(b'u');
    }

    pub(super) fn ordered_dict(&mut self, fill: impl FnOnce(&mut Self)) {
        self.0.extend(b"ccollections\nOrderedDict\n)R(");
        fill(self);
        self.0.push(b'u');
    }

    pub(super) fn text(&mut self, text: &str) {
        self.0.push(b'X');
        self.0.extend((text.len() as u32).to_le_bytes());
        self.0.extend(text.as_bytes());
    }

    pub(super) fn int(&mut self, value: usize) {
        if let Ok(value) = i32::try_from(value) {
            self.0.push(b'J');
            self.0.extend(value.to_le_bytes());
        } else {
            self.0.extend([0x8a, 8]);
            self.0.extend((value as u64).to_le_bytes());
        }
    }

    pub(super) fn float(&mut self, value: f64) {
        self.0.push(b'G');
        self.0.extend(value.to_be_bytes());
    }

    pub(super) fn list(&mut self, fill: impl FnOnce(&mut Self)) {
        self.0.extend(b"](");
        fill(self);
        self.0.push(b'e');
    }

    /// A dense tensor whose storage is entry `data/<number>` of the archive.
    pub(super) fn tensor(&mut self, entry: &Entry, number: usize) {
        let storage = match entry.element {
            Element::F16 => "HalfStorage",
            _ => "FloatStorage",
        };
        self.0.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        self.text("storage");
        self.0.extend(format!("ctorch\n{storage}\n").bytes());
        self.text(&number.to_string());
        self.text("cpu");
        self.int(entry.size() as usize);
        self.0.extend(b"tQ");
        self.int(0);
        self.ints(&entry.shape);
        let mut stride = entry.size() as usize;
        let strides: Vec<usize> = entry
            .shape
            .iter()
            .map(|dim| {
                stride /= dim;
                stride
            })
            .collect();
        self.ints(&strides);
        // Needs no gradient; no hooks.
        self.0.extend(b"\x89ccollections\nOrderedDict\n)RtR");
    }

    fn ints(&mut self, values: &[usize]) {
        self.0.push(b'(');
        values.iter().for_each(|&value| self.int(value));
        self.0.push(b't');
    }
}
