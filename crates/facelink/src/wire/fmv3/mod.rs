//! `FMV3`, contract revision 5: iFacialMocap and Facemotion3d in binary, over UDP and TCP.
//!
//! A message is a [`Header`] of 40 bytes and a body, everything little-endian and unpadded:
//!
//! | offset | field | type |
//! |---|---|---|
//! | 0 | `FMV3` | 4 bytes |
//! | 4 | message type, [`Kind`] | `u8` |
//! | 5 | flags, of a frame alone: bit 0 tracked, bit 1 played back | `u8` |
//! | 6 | header size, always 40 | `u16` |
//! | 8 | session; in HELLO the nonce of the caller | `u64` |
//! | 16 | schema | `u32` |
//! | 20 | sequence of a frame, PING or PONG | `u32` |
//! | 24 | source token, of a frame alone | `u32` |
//! | 28 | length of the whole body | `u32` |
//! | 32 | part, from 0 | `u16` |
//! | 34 | parts | `u16` |
//! | 36 | length of this part | `u32` |
//!
//! The phone sends a [`Schema`] first: names, encoding and the terms of the session. Frames are numbers in its order and
//! twelve `f32`: head rotation and position, right eye, left eye. Over UDP a schema comes in parts of 576 bytes and has to
//! be acknowledged before frames follow; over TCP messages are whole and nothing is acknowledged.
//!
//! Values are percent, degrees and metres, in the axes of [`PROFILE`]. The face is lost while bit 0 of the flags is 0.
//!
//! Source: the makers' own document, see `docs/sources/ifacialmocap.md`.

mod count;
mod message;
mod reassembly;
mod schema;
#[cfg(test)]
mod tests;

pub use count::Count;
pub use message::*;
pub use reassembly::{FRAME_EXPIRES, MAX_HELD, MAX_SETS, Reassembler, SCHEMA_EXPIRES};
pub use schema::{Encoding, PROFILE, Schema, Terms};

/// Reads the contents of a datagram, as far as it can be read without knowing what came before it.
///
/// # Errors
/// [`Fmv3Error`] names the field.
pub fn inspect(datagram: &[u8]) -> Result<Kind, Fmv3Error> {
    let part = Part::read(datagram)?;
    if part.header.parts == 1 {
        match part.header.kind {
            Kind::Hello => drop(Hello::read(part.chunk)?),
            Kind::Schema => drop(Schema::read(part.header.schema, part.chunk)?),
            Kind::Error => drop(error_text(part.chunk)?),
            _ => {}
        }
    }
    Ok(part.header.kind)
}
