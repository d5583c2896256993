//! Memory that is kept from call to call, so that a product allocates nothing.

/// A buffer of plain numbers that begins on a line of 64 bytes.
pub(crate) struct AlignedBuffer<T> {
    lines: Vec<CacheLine>,
    number: std::marker::PhantomData<T>,
}

#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct CacheLine([u8; 64]);

/// Numbers for which every pattern of bits is a value.
///
/// # Safety
/// Any bytes must be a valid value of the type, whose alignment divides 64.
pub(crate) unsafe trait Pod: Copy {}
// SAFETY: any byte is a `u8`.
unsafe impl Pod for u8 {}
// SAFETY: any four bytes are an `f32`.
unsafe impl Pod for f32 {}

impl<T: Pod> AlignedBuffer<T> {
    pub(crate) const fn new() -> Self {
        Self {
            lines: Vec::new(),
            number: std::marker::PhantomData,
        }
    }

    /// Makes room for that many values; what was there stays.
    pub(crate) fn grow(&mut self, values: usize) {
        let lines = (values * size_of::<T>()).div_ceil(64);
        if lines > self.lines.len() {
            self.lines.resize(lines, CacheLine([0; 64]));
        }
    }

    /// All values there is room for.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [T] {
        let count = self.lines.len() * 64 / size_of::<T>();
        // SAFETY: the lines are initialised bytes, aligned to 64, and by the
        // trait's contract any bytes are values of `T`.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), count) }
    }
}
