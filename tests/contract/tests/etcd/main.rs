//! One suite for the in-memory etcd and for a real one, each case with a server of its own.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fixture;
mod keys;
mod leases;
mod random;
mod txns;
mod watches;

/// Makes two tests of each case: on the model, and on the real thing.
macro_rules! contract {
    ($($module:ident: $($case:ident)*;)*) => {
        mod memory {
            $($(
                #[tokio::test]
                async fn $case() {
                    crate::$module::$case(&crate::fixture::Fixture::memory().await).await;
                }
            )*)*
        }
        mod real {
            $($(
                #[tokio::test]
                async fn $case() {
                    crate::$module::$case(&crate::fixture::Fixture::real().await).await;
                }
            )*)*
        }
    };
}

contract! {
    keys:
        an_empty_store_is_at_revision_one
        puts_count_revisions_and_versions
        a_put_gives_back_what_was_there
        a_put_can_keep_the_old_value_or_lease
        ranges_are_limited_counted_and_sorted
        ranges_tell_only_what_was_asked_for
        pages_at_one_revision_do_not_see_later_writes
        a_prefix_is_deleted_at_once
        a_deletion_of_nothing_makes_no_revision
        compacted_and_future_revisions_are_refused
        requests_without_a_key_are_refused;
    txns:
        every_target_compares_in_every_way
        a_missing_key_compares_as_zeros
        a_range_compares_as_all_of_its_records
        only_one_branch_is_carried_out
        all_operations_share_one_revision
        a_key_changed_twice_is_refused
        too_many_operations_are_refused
        a_refused_operation_leaves_nothing
        inner_conditions_are_decided_before_anything_is_written;
    leases:
        a_grant_says_what_it_gave
        keys_go_with_their_lease_in_one_revision
        a_lease_that_is_gone_is_known_by_its_ttl
        a_renewal_keeps_the_keys
        keys_go_when_their_lease_runs_out
        a_put_moves_a_key_to_another_lease
        a_put_on_an_unknown_lease_is_refused;
    watches:
        a_watch_begins_at_its_revision
        a_watch_without_a_revision_begins_now
        a_watch_may_begin_in_the_future
        events_of_one_revision_come_together
        events_carry_the_record_before_them
        filters_leave_events_out
        one_stream_carries_several_watches
        a_cancelled_watch_is_quiet
        a_watch_of_compacted_history_is_cancelled
        a_wish_for_an_id_in_use_is_refused
        progress_is_told_on_request;
}
