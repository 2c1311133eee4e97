//! The codec of all generated clients and servers: protobuf that forgives text which is not UTF-8.
//!
//! DM's Go programs neither check nor repair `string` fields, so an error text with row data may hold any bytes.
//! Prost refuses such a message as a whole. [`LossyCodec`] decodes as prost does, and only when that fails looks
//! for invalid text, replaces it (module `lossy`) and decodes again.

use std::marker::PhantomData;

use bytes::{Buf, Bytes};
use prost::{Message, Name};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic_prost::{ProstCodec, ProstEncoder};

use crate::lossy;

/// A tonic codec that sends `T` and receives `U`; a valid message costs the same as with tonic's own.
#[derive(Clone, Debug)]
pub struct LossyCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for LossyCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for LossyCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Name + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = LossyDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::default().encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        LossyDecoder(PhantomData)
    }
}

/// The receiving half of [`LossyCodec`].
#[derive(Clone, Debug)]
pub struct LossyDecoder<U>(PhantomData<U>);

impl<U: Message + Name + Default> Decoder for LossyDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // No copy: the buffer splits off what it holds.
        let bytes = src.copy_to_bytes(src.remaining());
        decode(bytes).map(Some).map_err(|error| {
            // The same code and text as tonic's codec.
            Status::internal(error.to_string())
        })
    }
}

/// Decodes a message of any origin; text that is not UTF-8 has U+FFFD for each bad byte afterwards.
///
/// # Errors
/// When the bytes are no message of this type, even with repaired text; the error is the first one.
pub fn decode<M: Message + Name + Default>(bytes: Bytes) -> Result<M, prost::DecodeError> {
    match M::decode(bytes.clone()) {
        Ok(message) => Ok(message),
        Err(error) => match lossy::repair(&M::full_name(), &bytes) {
            Some(repaired) => M::decode(repaired.as_slice()),
            None => Err(error),
        },
    }
}
