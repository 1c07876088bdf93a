//! A cursor over bytes of unwind tables that knows the address each byte lies at, and refuses to read past the end.

use core::marker::PhantomData;

use crate::EhFrameError;

/// `DW_EH_PE_omit`: there is no value.
pub(crate) const PE_OMIT: u8 = 0xff;
/// Applications of an encoded pointer (its high nibble without the indirection bit): what the value is relative to.
pub(crate) const PE_PCREL: u8 = 0x10;
/// Relative to the start of the text.
pub(crate) const PE_TEXTREL: u8 = 0x20;
/// Relative to the start of the `.eh_frame_hdr`.
pub(crate) const PE_DATAREL: u8 = 0x30;
/// The value is the address of the pointer, not the pointer itself.
pub(crate) const PE_INDIRECT: u8 = 0x80;
/// Formats of an encoded pointer (its low nibble).
pub(crate) const PE_ABSPTR: u8 = 0x00;
pub(crate) const PE_ULEB128: u8 = 0x01;
pub(crate) const PE_UDATA2: u8 = 0x02;
pub(crate) const PE_UDATA4: u8 = 0x03;
pub(crate) const PE_UDATA8: u8 = 0x04;
pub(crate) const PE_SLEB128: u8 = 0x09;
pub(crate) const PE_SDATA2: u8 = 0x0a;
pub(crate) const PE_SDATA4: u8 = 0x0b;
pub(crate) const PE_SDATA8: u8 = 0x0c;

/// A position in a piece of memory whose first byte lies, or will lie, at a given virtual address.
///
/// It is a pointer and a length and not a slice, because the length of a language-specific data area is only known from
/// its contents: see [`Reader::from_raw`].
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    bytes: *const u8,
    length: usize,
    base: usize,
    position: usize,
    lifetime: PhantomData<&'a [u8]>,
}

impl<'a> Reader<'a> {
    /// A reader at the beginning of `bytes`, which lie (or will lie) at address `base`.
    pub(crate) fn new(bytes: &'a [u8], base: usize) -> Self {
        Self { bytes: bytes.as_ptr(), length: bytes.len(), base, position: 0, lifetime: PhantomData }
    }

    /// A reader at `address` that may go on to the end of the address space.
    ///
    /// # Safety
    /// The bytes that are read through it must be readable and unchanging for `'a`. Whoever reads a table whose own
    /// contents say where it ends, and reads no further, fulfils that if the table is intact and mapped.
    pub(crate) unsafe fn from_raw(address: usize) -> Self {
        let length = usize::MAX - address;
        Self { bytes: address as *const u8, length, base: address, position: 0, lifetime: PhantomData }
    }

    /// Address of the byte at `position`.
    #[inline]
    pub(crate) fn address_of(&self, position: usize) -> usize {
        self.base.wrapping_add(position)
    }

    /// Offset of the next byte from the first one.
    #[inline]
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// Continues at `position`, which may be the end but not beyond.
    #[inline]
    pub(crate) fn seek(&mut self, position: usize) -> Result<(), EhFrameError> {
        if position > self.length {
            return Err(EhFrameError::Truncated { offset: position });
        }
        self.position = position;
        Ok(())
    }

    /// Number of bytes left.
    #[inline]
    pub(crate) fn remaining(&self) -> usize {
        self.length - self.position
    }

    /// The same reader, cut off at `end` bytes from its beginning.
    #[inline]
    pub(crate) fn until(mut self, end: usize) -> Result<Self, EhFrameError> {
        if end > self.length || end < self.position {
            return Err(EhFrameError::Truncated { offset: self.position });
        }
        self.length = end;
        Ok(self)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], EhFrameError> {
        if self.remaining() < N {
            return Err(EhFrameError::Truncated { offset: self.position });
        }
        // SAFETY: `position + N <= length`, and `length` bytes from `bytes` on are readable as `new`'s slice is, or by
        // the promise made to `from_raw`. A byte array has no alignment.
        let value = unsafe { self.bytes.add(self.position).cast::<[u8; N]>().read() };
        self.position += N;
        Ok(value)
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, EhFrameError> {
        self.array::<1>().map(|b| b[0])
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Result<u16, EhFrameError> {
        self.array().map(u16::from_le_bytes)
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Result<u32, EhFrameError> {
        self.array().map(u32::from_le_bytes)
    }

    #[inline]
    pub(crate) fn u64(&mut self) -> Result<u64, EhFrameError> {
        self.array().map(u64::from_le_bytes)
    }

    /// The number that lies `offset` bytes after the next byte.
    ///
    /// # Safety
    /// There must be so many bytes left, and four more.
    #[inline]
    pub(crate) unsafe fn i32_at(&self, offset: usize) -> i32 {
        // SAFETY: by the caller, it is before the end; see `array`.
        i32::from_le_bytes(unsafe { self.bytes.add(self.position + offset).cast::<[u8; 4]>().read() })
    }

    /// An unsigned LEB128 number; bits beyond the 64th are an error.
    #[inline]
    pub(crate) fn uleb128(&mut self) -> Result<u64, EhFrameError> {
        // Most have one byte.
        let first = self.u8()?;
        if first & 0x80 == 0 { Ok(first.into()) } else { self.long_uleb128(first) }
    }

    fn long_uleb128(&mut self, first: u8) -> Result<u64, EhFrameError> {
        let start = self.position - 1;
        let mut value = u64::from(first & 0x7f);
        let mut shift = 7;
        loop {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift > 63 || (shift == 63 && bits > 1) {
                return Err(EhFrameError::BadNumber { offset: start });
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
            shift += 7;
        }
    }

    /// A signed LEB128 number; more than 64 bits are an error.
    pub(crate) fn sleb128(&mut self) -> Result<i64, EhFrameError> {
        let start = self.position;
        let mut value = 0i64;
        let mut shift = 0;
        loop {
            let byte = self.u8()?;
            if shift > 63 {
                return Err(EhFrameError::BadNumber { offset: start });
            }
            value |= i64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                if shift < 64 && byte & 0x40 != 0 {
                    value |= -1 << shift;
                }
                return Ok(value);
            }
        }
    }

    /// A number in one of the `DW_EH_PE_*` formats, sign-extended where the format is signed; nothing is added to it.
    #[inline]
    pub(crate) fn encoded_number(&mut self, encoding: u8) -> Result<usize, EhFrameError> {
        // By far the most frequent ones, of call sites and of functions.
        match encoding & 0x0f {
            PE_ULEB128 => self.uleb128().map(|number| number as usize),
            PE_SDATA4 => self.u32().map(|number| number as i32 as usize),
            _ => self.unusual_number(encoding),
        }
    }

    fn unusual_number(&mut self, encoding: u8) -> Result<usize, EhFrameError> {
        Ok(match encoding & 0x0f {
            PE_ABSPTR | PE_UDATA8 | PE_SDATA8 => self.u64()? as usize,
            PE_ULEB128 => self.uleb128()? as usize,
            PE_UDATA2 => usize::from(self.u16()?),
            PE_UDATA4 => self.u32()? as usize,
            PE_SLEB128 => self.sleb128()? as usize,
            PE_SDATA2 => self.u16()? as i16 as usize,
            PE_SDATA4 => self.u32()? as i32 as usize,
            _ => return Err(EhFrameError::UnknownEncoding { offset: self.position, encoding }),
        })
    }

    /// An encoded pointer: a number plus what its encoding says it is relative to (`text` and `data` are the two bases
    /// that are not in the reader).
    pub(crate) fn encoded_pointer(
        &mut self,
        encoding: u8,
        text: usize,
        data: usize,
    ) -> Result<usize, EhFrameError> {
        let here = self.address_of(self.position);
        let base = match encoding & 0xf0 {
            0 => 0,
            PE_PCREL => here,
            PE_TEXTREL => text,
            PE_DATAREL => data,
            _ => return Err(EhFrameError::UnknownEncoding { offset: self.position, encoding }),
        };
        Ok(base.wrapping_add(self.encoded_number(encoding)?))
    }
}
