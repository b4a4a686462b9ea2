//! What every driver keeps: the same scenarios over real sockets, for each backend.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod again;
mod connecting;
mod datagrams;
mod groups;
mod limits;
mod moving;
mod rig;
mod storm;
mod tcp;
mod wake;

use proto::io::Driver;

/// Runs each scenario for each backend, as `driver::<backend>::<scenario>`.
macro_rules! scenarios {
    ($($file:ident: $($name:ident),+;)+) => {
        mod tokio {
            $($(
                #[test]
                fn $name() {
                    let name = concat!(module_path!(), "::", stringify!($name));
                    super::rig::run(name, super::tokio, super::$file::$name);
                }
            )+)+
        }

        #[cfg(target_os = "linux")]
        mod uring {
            $($(
                #[test]
                fn $name() {
                    let name = concat!(module_path!(), "::", stringify!($name));
                    super::rig::run(name, super::uring, super::$file::$name);
                }
            )+)+
        }
    };
}

scenarios! {
    tcp:
        a_client_is_accepted_heard_answered_and_let_go,
        a_client_that_half_closes_still_gets_its_answer,
        a_reset_connection_is_reported_once_and_stays_until_it_is_closed,
        a_send_to_a_client_that_has_gone_is_reported,
        ten_megabytes_arrive_whole_and_are_answered_once,
        a_client_that_never_reads_does_not_hold_up_its_close,
        an_answer_before_the_close_survives_unread_input,
        stopped_input_waits_until_it_is_resumed,
        pieces_arrive_in_order_byte_for_byte,
        sends_follow_one_another,
        an_operation_on_an_old_name_is_ignored,
        a_client_over_ipv6_is_served,
        a_closed_listener_accepts_no_more;
    connecting:
        a_connection_is_opened_and_bytes_go_both_ways,
        a_connection_is_opened_over_ipv6_and_by_a_scope,
        nothing_is_connected_before_the_turn,
        a_connection_is_refused_where_nobody_listens,
        a_connection_that_nobody_answers_can_be_closed,
        a_connection_can_be_closed_at_any_moment,
        input_that_is_stopped_beforehand_waits,
        an_opened_connection_moves,
        no_connection_leads_to_itself,
        a_thousand_connects_and_closes_leave_nothing_behind;
    groups:
        a_group_is_received_side_by_side,
        a_group_over_ipv6_is_received,
        only_the_given_source_is_heard,
        only_the_given_interface_is_heard,
        multicast_over_ipv6_leaves_by_the_interface_of_the_bound_address,
        routing_chooses_the_interface,
        a_closed_socket_has_left_its_group,
        a_membership_that_does_not_fit_is_refused;
    datagrams:
        a_datagram_goes_both_ways,
        a_datagram_goes_both_ways_over_ipv6,
        a_train_arrives_as_single_datagrams,
        a_spliced_train_arrives_with_its_own_heads,
        merged_datagrams_can_be_told_apart,
        a_burst_is_received_whole,
        multicast_leaves_by_the_interface_of_the_bound_address,
        a_group_is_shared_and_any_other_address_has_one_socket,
        unreachable_ports_harm_nobody,
        a_closed_socket_sends_its_queue_first,
        a_full_socket_keeps_the_order,
        a_full_socket_sheds_what_waited_too_long;
    wake:
        a_waker_ends_a_turn_from_another_thread,
        a_wake_before_the_turn_is_not_lost,
        a_turn_ends_at_its_time,
        a_time_in_the_past_only_looks,
        the_clock_stands_between_two_turns,
        both_clocks_tell_of_one_moment;
    moving:
        a_connection_moves_with_its_unread_input,
        nothing_is_lost_of_input_that_comes_while_it_moves,
        several_drivers_share_one_address,
        a_connection_of_another_kind_is_refused;
    limits:
        two_thousand_clients_come_and_go,
        two_hundred_clients_are_served_at_once,
        more_input_at_once_than_a_turn_takes_is_all_heard,
        a_flood_on_many_udp_sockets_is_heard,
        out_of_descriptors_is_survived;
    storm:
        a_storm_mixes_nothing_up;
}

fn tokio() -> Option<Box<dyn Driver>> {
    Some(Box::new(fallback::TokioDriver::new().unwrap()))
}

#[cfg(target_os = "linux")]
fn uring() -> Option<Box<dyn Driver>> {
    use ringcaster::driver::uring::{UringDriver, UringOptions, probe};
    probe().ok()?;
    Some(Box::new(UringDriver::new(UringOptions::default()).unwrap()))
}
