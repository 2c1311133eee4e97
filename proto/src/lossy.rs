//! Repair of messages whose text is not UTF-8: each byte that belongs to no character becomes U+FFFD, as Go
//! shows it in JSON. Everything else, unknown fields included, keeps its bytes.

use crate::descriptor::{Kind, MessageType, Registry};
use crate::wire::{Fields, Malformed, Value};

/// How deep messages may lie in each other; prost reads no deeper either.
pub(crate) const MAX_DEPTH: usize = 100;

/// The message with its text repaired; `None` if there is nothing to repair, or if the bytes or the type are not
/// understood.
pub(crate) fn repair(message: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    let registry = Registry::embedded();
    repaired_message(registry, registry.message(message)?, bytes, MAX_DEPTH)
        .ok()
        .flatten()
}

fn repaired_message(
    registry: &Registry,
    message: &MessageType,
    bytes: &[u8],
    depth: usize,
) -> Result<Option<Vec<u8>>, Malformed> {
    let depth = depth.checked_sub(1).ok_or(Malformed)?;
    let mut out = Vec::with_capacity(bytes.len());
    let mut is_changed = false;
    for field in Fields::of(bytes) {
        let field = field?;
        // Map entries are messages as well, so that their keys and values are covered.
        let repaired = match (field.value, message.field(field.number).map(|of| &of.kind)) {
            (Value::Delimited(text), Some(Kind::Text)) => repaired_text(text),
            (Value::Delimited(inner), Some(Kind::Message(name))) => match registry.message(name) {
                Some(message) => repaired_message(registry, message, inner, depth)?,
                None => None,
            },
            _ => None,
        };
        match repaired {
            Some(value) => {
                is_changed = true;
                out.extend_from_slice(field.tag);
                prost::encoding::encode_varint(value.len() as u64, &mut out);
                out.extend_from_slice(&value);
            }
            None => out.extend_from_slice(field.raw),
        }
    }
    Ok(is_changed.then_some(out))
}

fn repaired_text(text: &[u8]) -> Option<Vec<u8>> {
    if std::str::from_utf8(text).is_ok() {
        return None;
    }
    let mut out = String::with_capacity(text.len() + 2);
    for chunk in text.utf8_chunks() {
        out.push_str(chunk.valid());
        // One for each byte, not one for each broken character.
        out.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    Some(out.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::decode;
    use crate::pb;
    use bytes::Bytes;
    use proptest::prelude::*;
    use prost::Message;

    /// Encodes a message whose text has `?` wherever the bytes `bad` shall be; only of the same length.
    fn with_bad_bytes(message: &impl Message) -> Bytes {
        let mut bytes = message.encode_to_vec();
        for byte in &mut bytes {
            if *byte == b'?' {
                *byte = 0xff;
            }
        }
        bytes.into()
    }

    #[test]
    fn text_in_sub_messages_lists_and_oneofs_is_repaired() {
        let status = |name: &str, ddl: &str| pb::QueryStatusResponse {
            result: true,
            msg: "plain".into(),
            source_status: Some(pb::SourceStatus {
                result: Some(pb::ProcessResult {
                    errors: vec![pb::ProcessError {
                        err_code: 10006,
                        raw_cause: format!("Duplicate entry '{name}'"),
                        ..Default::default()
                    }],
                    // Bytes are no text: they stay as they are.
                    detail: vec![0xfe, b'x'],
                    ..Default::default()
                }),
                ..Default::default()
            }),
            sub_task_status: vec![pb::SubTaskStatus {
                name: name.into(),
                status: Some(pb::sub_task_status::Status::Sync(pb::SyncStatus {
                    blocking_dd_ls: vec!["ok".into(), ddl.into()],
                    ..Default::default()
                })),
                ..Default::default()
            }],
        };
        let bytes = with_bad_bytes(&status("a?b??", "?"));
        assert!(pb::QueryStatusResponse::decode(bytes.clone()).is_err());
        let got: pb::QueryStatusResponse = decode(bytes).unwrap();
        assert_eq!(got, status("a\u{fffd}b\u{fffd}\u{fffd}", "\u{fffd}"));
    }

    #[test]
    fn text_in_keys_and_values_of_maps_is_repaired() {
        let configs = |name: &str, text: &str| pb::ListTaskConfigsResponse {
            result: true,
            msg: String::new(),
            task_configs: [(name.to_owned(), text.to_owned())].into(),
        };
        let got: pb::ListTaskConfigsResponse =
            decode(with_bad_bytes(&configs("t?", "?x"))).unwrap();
        assert_eq!(got, configs("t\u{fffd}", "\u{fffd}x"));
    }

    #[test]
    fn a_cut_character_becomes_one_replacement_for_each_of_its_bytes() {
        // The first two of the three bytes of U+20AC.
        assert_eq!(
            repaired_text(b"1\xe2\x82 2"),
            Some("1\u{fffd}\u{fffd} 2".as_bytes().to_vec())
        );
        assert_eq!(repaired_text("1\u{20ac}".as_bytes()), None);
    }

    #[test]
    fn a_malformed_message_stays_an_error() {
        let mut bytes = with_bad_bytes(&pb::OfflineMemberResponse {
            result: true,
            msg: "?".into(),
        })
        .to_vec();
        bytes.push(0x12); // a tag without a value
        assert!(decode::<pb::OfflineMemberResponse>(bytes.into()).is_err());
        // A number where text belongs.
        assert!(decode::<pb::OfflineMemberResponse>(Bytes::from_static(&[0x10, 1])).is_err());
    }

    #[test]
    fn messages_in_each_other_without_end_are_refused() {
        let mut bytes = Vec::new();
        for _ in 0..300 {
            // TxnRequest.success (2) { request_txn (4) { .. } }
            for tag in [0x22_u8, 0x12] {
                let mut outer = vec![tag];
                prost::encoding::encode_varint(bytes.len() as u64, &mut outer);
                outer.append(&mut bytes);
                bytes = outer;
            }
        }
        assert_eq!(repair("etcdserverpb.TxnRequest", &bytes), None);
        assert!(decode::<crate::etcdserverpb::TxnRequest>(bytes.into()).is_err());
    }

    fn any_status() -> impl Strategy<Value = pb::QueryStatusResponse> {
        (
            any::<bool>(),
            any::<String>(),
            proptest::collection::vec((any::<String>(), any::<i32>(), any::<String>()), 0..4),
        )
            .prop_map(|(result, msg, tasks)| pb::QueryStatusResponse {
                result,
                msg,
                source_status: None,
                sub_task_status: tasks
                    .into_iter()
                    .map(|(name, stage, text)| pb::SubTaskStatus {
                        name,
                        stage,
                        status: Some(pb::sub_task_status::Status::Msg(text)),
                        ..Default::default()
                    })
                    .collect(),
            })
    }

    proptest! {
        #[test]
        fn a_valid_message_needs_no_repair(message in any_status()) {
            prop_assert_eq!(repair("pb.QueryStatusResponse", &message.encode_to_vec()), None);
            prop_assert_eq!(decode::<pb::QueryStatusResponse>(message.encode_to_vec().into()).unwrap(), message);
        }

        #[test]
        fn any_text_can_be_decoded_after_repair(text in any::<Vec<u8>>()) {
            // Bytes and text look the same on the wire, so a message with bytes at the same number carries it.
            let raw = pb::RegisterWorkerResponse { secret_key: text.clone(), ..Default::default() };
            // DDLLock.mode is field 3, as RegisterWorkerResponse.secretKey is.
            let lock: pb::DdlLock = decode(raw.encode_to_vec().into()).unwrap();
            prop_assert_eq!(
                lock.mode.replace('\u{fffd}', "").into_bytes(),
                String::from_utf8_lossy(&text).replace('\u{fffd}', "").into_bytes()
            );
        }

        #[test]
        fn any_bytes_are_read_as_any_message_without_panic(bytes in any::<Vec<u8>>()) {
            for name in Registry::embedded().message_names() {
                if let Some(once) = repair(name, &bytes) {
                    prop_assert_eq!(repair(name, &once), None, "a repair leaves nothing to repair");
                }
            }
        }
    }
}
