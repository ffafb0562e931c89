//! Records of MCAP, as far as a take is read by them.
//!
//! Not read by the crate that writes them: it allocates a text by the length that the file states.

use std::collections::BTreeMap;

/// The fields of a record, little-endian, one after the other. `None` where it ends before.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn bytes(&mut self, len: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(len).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    fn text(&mut self) -> Option<&'a str> {
        let len = self.u32()?;
        std::str::from_utf8(self.bytes(len.into())?).ok()
    }

    /// What follows after its own length.
    fn map(&mut self) -> Option<Cursor<'a>> {
        let len = self.u32()?;
        self.bytes(len.into()).map(Cursor)
    }

    fn texts(&mut self) -> Option<BTreeMap<String, String>> {
        let mut map = self.map()?;
        let mut texts = BTreeMap::new();
        while !map.0.is_empty() {
            texts.insert(map.text()?.to_owned(), map.text()?.to_owned());
        }
        Some(texts)
    }
}

/// The profile of a header.
pub(super) fn profile(body: &[u8]) -> Option<&str> {
    Cursor(body).text()
}

/// Where the summary of a footer begins.
pub(super) fn summary_start(body: &[u8]) -> Option<u64> {
    Cursor(body).u64()
}

/// Id and name of a schema.
pub(super) fn schema(body: &[u8]) -> Option<(u16, &str)> {
    let mut cursor = Cursor(body);
    Some((cursor.u16()?, cursor.text()?))
}

#[derive(Debug)]
pub(super) struct Channel<'a> {
    pub id: u16,
    pub schema: u16,
    pub topic: &'a str,
    pub encoding: &'a str,
    pub metadata: BTreeMap<String, String>,
}

pub(super) fn channel(body: &[u8]) -> Option<Channel<'_>> {
    let mut cursor = Cursor(body);
    Some(Channel {
        id: cursor.u16()?,
        schema: cursor.u16()?,
        topic: cursor.text()?,
        encoding: cursor.text()?,
        metadata: cursor.texts()?,
    })
}

/// Bytes of a message before its data.
pub(super) const MESSAGE_HEADER: usize = 2 + 4 + 8 + 8;

/// Channel and log time of a message.
pub(super) fn message(body: &[u8]) -> Option<(u16, u64)> {
    let mut cursor = Cursor(body);
    let (channel, _sequence, log_time, _publish_time) = (cursor.u16()?, cursor.u32()?, cursor.u64()?, cursor.u64()?);
    Some((channel, log_time))
}

#[derive(Debug)]
pub(super) struct Chunk<'a> {
    pub uncompressed_size: u64,
    pub uncompressed_crc: u32,
    pub compression: &'a str,
    pub data: &'a [u8],
}

pub(super) fn chunk(body: &[u8]) -> Option<Chunk<'_>> {
    let mut cursor = Cursor(body);
    let _times = (cursor.u64()?, cursor.u64()?);
    let (uncompressed_size, uncompressed_crc) = (cursor.u64()?, cursor.u32()?);
    let compression = cursor.text()?;
    let len = cursor.u64()?;
    Some(Chunk { uncompressed_size, uncompressed_crc, compression, data: cursor.bytes(len)? })
}

#[derive(Clone, Copy, Debug)]
pub(super) struct ChunkIndex {
    pub start_time: u64,
    pub end_time: u64,
    pub offset: u64,
    pub len: u64,
}

pub(super) fn chunk_index(body: &[u8]) -> Option<ChunkIndex> {
    let mut cursor = Cursor(body);
    Some(ChunkIndex { start_time: cursor.u64()?, end_time: cursor.u64()?, offset: cursor.u64()?, len: cursor.u64()? })
}

/// Name, type and bytes of an attachment.
pub(super) fn attachment(body: &[u8]) -> Option<(&str, &str, &[u8])> {
    let mut cursor = Cursor(body);
    let _times = (cursor.u64()?, cursor.u64()?);
    let (name, media_type, len) = (cursor.text()?, cursor.text()?, cursor.u64()?);
    Some((name, media_type, cursor.bytes(len)?))
}

/// Where an attachment is, how long its record and its data are, its name and type.
pub(super) fn attachment_index(body: &[u8]) -> Option<(u64, u64, u64, &str, &str)> {
    let mut cursor = Cursor(body);
    let (offset, record_len) = (cursor.u64()?, cursor.u64()?);
    let _times = (cursor.u64()?, cursor.u64()?);
    Some((offset, record_len, cursor.u64()?, cursor.text()?, cursor.text()?))
}

pub(super) fn metadata(body: &[u8]) -> Option<(&str, BTreeMap<String, String>)> {
    let mut cursor = Cursor(body);
    Some((cursor.text()?, cursor.texts()?))
}

/// Where a metadata record is, and how long.
pub(super) fn metadata_index(body: &[u8]) -> Option<(u64, u64)> {
    let mut cursor = Cursor(body);
    Some((cursor.u64()?, cursor.u64()?))
}
