"""What we claim of MCP as a client, clause by clause, each with the tests that show it.

``test_mcp_requirements.py`` holds it both ways: every test named here exists, and every test of this folder is named
here, under a clause or among those that hold promises of our own.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clause:
    """A clause of the specification in our words. ``source`` is the revision and the page (and section)."""

    source: str
    says: str
    tests: tuple[str, ...]


def clause(source: str, says: str, *tests: str) -> Clause:
    """A clause with its tests, written ``module:test`` without their ``test_``."""
    return Clause(source, says, tests)


CLAUSES = (
    clause(
        "2025-11-25 basic/lifecycle#version-negotiation",
        "The client takes the version that the server answers with, or leaves.",
        "stdio:a_server_is_negotiated_listed_and_called",
        "http:a_server_is_negotiated_listed_and_called",
        "peers:a_server_of_the_old_sdk_works_on_its_database",
    ),
    clause(
        "2026-07-28 basic/versioning",
        "A client of both eras asks server/discover first and falls back to the handshake.",
        "stdio:a_server_is_negotiated_listed_and_called",
        "http:a_server_is_negotiated_listed_and_called",
        "hostile:a_server_that_dies_of_the_newer_handshake_gets_the_older_one",
        "peers:mcp_server_time_tells_the_time",
        "peers:the_git_server_shows_a_repository",
    ),
    clause(
        "2025-11-25 basic/lifecycle#shutdown",
        "A stdio server is ended by closing its stdin, then SIGTERM, then SIGKILL.",
        "orphans:nothing_is_left_when_the_block_ends",
        "orphans:nothing_is_left_when_the_block_is_cancelled_in_a_call",
        "orphans:nothing_is_left_when_the_block_ends_before_the_server_is_ready",
    ),
    clause(
        "2025-11-25 basic/lifecycle#timeouts",
        "Every request has a timeout, after which it is cancelled; progress may set it back, a maximum always holds.",
        "hostile:a_server_that_hangs_is_cut_at_the_deadline_and_the_next_call_works",
        "hostile:a_server_that_is_never_ready_is_an_error_with_its_last_words",
        "http:a_server_that_sends_not_even_headers_is_cut_at_the_deadline",
        "stdio:cancelled_silent_and_changing_servers_keep_their_session",
    ),
    clause(
        "2025-11-25 basic/transports#stdio",
        "Messages are lines of UTF-8 JSON; stderr is for logging and no error.",
        "wire:lines_are_the_same_however_the_bytes_come",
        "wire:bytes_that_are_no_utf8_still_give_a_message",
        "wire:an_unreadable_answer_is_an_error_for_its_request_and_for_no_other",
        "hostile:the_end_of_stderr_is_kept_for_people",
    ),
    clause(
        "2025-11-25 basic/transports#session-management",
        "A 404 to a request with a session id means that a new session is begun.",
        "http:a_session_that_the_server_forgot_is_begun_anew_once",
    ),
    clause(
        "2025-11-25 basic/transports#backwards-compatibility",
        "The HTTP+SSE transport of 2024-11-05 is spoken where the operator asks for it.",
        "http:the_transport_of_2024_is_spoken_when_asked_for",
    ),
    clause(
        "2025-11-25 basic/utilities/cancellation",
        "A call that is given up is cancelled at the server, and a late answer to it is ignored.",
        "stdio:cancelled_silent_and_changing_servers_keep_their_session",
        "http:a_cancelled_call_is_cancelled_at_the_server_and_the_session_lives",
    ),
    clause(
        "2025-11-25 basic/utilities/progress",
        "Progress is asked for with a token and shown; none is taken after the answer.",
        "stdio:cancelled_silent_and_changing_servers_keep_their_session",
        "peers:the_everything_server_shows_and_asks_everything",
    ),
    clause(
        "2025-11-25 server/utilities/pagination",
        "Lists are followed page after page by opaque cursors, within bounds.",
        "stdio:a_server_is_negotiated_listed_and_called",
        "hostile:endless_pages_of_tools_are_cut_and_noted",
    ),
    clause(
        "2025-11-25 server/tools#tool-names",
        "A name is 1 to 128 of the allowed characters and unique within its server.",
        "wire:a_tool_listed_twice_or_with_no_usable_name_is_left_out_and_noted",
    ),
    clause(
        "2025-11-25 server/tools#tool-annotations",
        "Annotations are untrusted unless the server is trusted.",
        "wire:tools_become_specs_with_their_schemas_whole_and_hints_only_if_trusted",
        "stdio:names_may_be_left_bare_and_hints_unbelieved",
        "target:hints_are_believed_only_of_a_server_that_its_operator_trusts",
    ),
    clause(
        "2025-11-25 server/tools#tool-result",
        "Text, images, audio, links, embedded resources and structured content are all taken.",
        "wire:an_answer_becomes_text_data_and_error",
        "wire:bytes_come_raw_and_are_named_in_the_text",
        "wire:media_that_is_no_base64_is_said_and_not_kept",
        "wire:any_text_and_data_pass_unchanged",
        "wire:content_for_the_user_alone_goes_to_the_details_unless_there_is_no_other",
        "peers:the_everything_server_shows_and_asks_everything",
    ),
    clause(
        "2025-11-25 server/tools#output-schema",
        "Structured content is checked against the output schema, at bounded cost.",
        "stdio:a_server_is_negotiated_listed_and_called",
        "hostile:a_hostile_output_schema_stalls_neither_the_call_nor_its_check",
    ),
    clause(
        "2025-11-25 server/tools#list-changed-notification",
        "A list that changed is listed again.",
        "stdio:cancelled_silent_and_changing_servers_keep_their_session",
        "http:a_changed_list_is_listed_again_before_the_next_specs",
    ),
    clause(
        "2026-07-28 basic/patterns/subscriptions",
        "Changes of tools, resources and prompts are listened for with subscriptions/listen.",
        "http:a_changed_list_is_listed_again_before_the_next_specs",
        "asks:lists_are_kept_until_the_server_says_that_they_changed",
    ),
    clause(
        "2026-07-28 server/utilities/caching",
        "What was read is served from memory for ttlMs and no longer.",
        "asks:a_resource_is_read_from_memory_for_as_long_as_its_server_allows",
    ),
    clause(
        "2025-11-25 server/resources",
        "Resources and templates are listed and read, text and bytes.",
        "asks:the_model_gets_two_tools_for_resources",
        "peers:the_everything_server_shows_and_asks_everything",
    ),
    clause(
        "2025-11-25 server/prompts",
        "Prompts are listed and got with their arguments.",
        "asks:prompts_are_listed_got_and_completed",
        "peers:the_everything_server_shows_and_asks_everything",
    ),
    clause(
        "2025-11-25 server/utilities/completion",
        "Arguments of prompts and templates are completed.",
        "asks:prompts_are_listed_got_and_completed",
    ),
    clause(
        "2025-11-25 server/utilities/logging",
        "The level is set once in the handshake era and with each request in that of 2026-07-28.",
        "asks:a_servers_log_is_handed_on_from_the_wanted_level",
    ),
    clause(
        "2025-11-25 client/roots",
        "Roots are file URIs that the operator chose.",
        "asks:roots_are_the_folders_that_the_operator_named",
        "peers:the_filesystem_server_works_in_the_roots_that_the_operator_names",
    ),
    clause(
        "2025-11-25 client/sampling",
        "The person is shown the request and may refuse it; tokens and requests are limited.",
        "asks:sampling_shows_all_to_the_person_and_asks_the_agents_own_engine",
        "asks:sampling_that_the_person_refuses_asks_no_engine",
        "asks:sampling_ends_at_its_limit",
    ),
    clause(
        "2025-11-25 client/elicitation#form-mode",
        "The form is shown with who asks, may be declined or left, and its answer fits its schema.",
        "asks:a_form_is_asked_and_what_was_left_alone_has_its_default",
        "asks:a_person_may_say_no_and_the_server_hears_which_no",
        "asks:an_answer_that_does_not_fit_the_form_never_reaches_the_server",
    ),
    clause(
        "2025-11-25 client/elicitation#url-mode",
        "The whole URL is shown and opened only with consent; only web pages are.",
        "asks:a_page_is_shown_with_its_whole_address_and_only_if_it_is_a_web_page",
        "asks:a_page_that_a_call_needs_first_is_shown_and_the_model_told",
    ),
    clause(
        "2025-11-25 basic/lifecycle#capability-negotiation",
        "Only what is allowed is declared, and only what was declared is answered.",
        "asks:what_is_not_allowed_is_not_offered_and_refused_when_asked",
    ),
    clause(
        "2026-07-28 basic/patterns/mrtr",
        "A call that needs input first is answered and made again with the request state.",
        "asks:a_form_is_asked_and_what_was_left_alone_has_its_default",
        "asks:sampling_shows_all_to_the_person_and_asks_the_agents_own_engine",
        "asks:roots_are_the_folders_that_the_operator_named",
    ),
    clause(
        "2026-07-28 ext-tasks#polymorphic-results",
        "The client declares the extension and takes a result or a task.",
        "tasks:the_wire_names_the_task_and_the_extension",
        "tasks:a_call_that_is_no_task_is_answered_at_once",
    ),
    clause(
        "2026-07-28 ext-tasks#task-polling",
        "A task is polled at its own interval to its end, also after a crash.",
        "tasks:a_task_is_polled_to_its_result_and_its_looks_are_progress",
        "tasks:a_task_outlives_the_connection_and_is_not_called_again",
        "tasks:a_call_that_had_become_a_task_when_its_process_died_is_asked_after_by_another",
        "tasks:nobody_can_tell_what_came_of_a_call_that_was_no_task_or_is_forgotten",
    ),
    clause(
        "2026-07-28 ext-tasks#task-update-requests",
        "What a task asks is put to the person once and answered with tasks/update.",
        "tasks:what_a_task_asks_is_asked_once_and_answered_by_an_update",
    ),
    clause(
        "2026-07-28 ext-tasks#task-cancellation",
        "A task is cancelled with tasks/cancel and never with notifications/cancelled.",
        "tasks:a_caller_that_gives_up_cancels_the_task_and_not_the_request",
        "tasks:the_deadline_of_a_call_ends_its_task_too",
    ),
    clause(
        "2026-07-28 ext-tasks#error-handling",
        "Failed, cancelled and completed-with-an-error are told apart.",
        "tasks:a_task_that_ends_badly_is_an_error_that_says_how",
    ),
    clause(
        "2026-07-28 basic/authorization/authorization-server-discovery",
        "The issuer is found through the server's protected-resource metadata, and its own through RFC 8414 or OpenID.",
        "login:a_login_is_asked_for_at_the_door_and_works",
        "login:an_address_that_the_operator_allows_is_asked",
    ),
    clause(
        "2026-07-28 basic/authorization/client-registration",
        "A registered client is used if the operator names one, else a metadata document, else registration.",
        "login:a_login_is_asked_for_at_the_door_and_works",
        "login:a_second_login_uses_the_registration_of_the_first",
        "login:client_credentials_need_nobody",
        "login:options_that_do_not_fit_together_are_the_operators_mistake",
    ),
    clause(
        "2026-07-28 basic/authorization/client-registration#authorization-server-binding",
        "Credentials are for the issuer that they are from, and an issuer that is another one is an error.",
        "login:a_secret_goes_to_its_issuer_or_nowhere",
    ),
    clause(
        "2026-07-28 basic/authorization#authorization-response-validation",
        "iss is compared before the code is sent anywhere, and before a refusal is shown.",
        "login:an_answer_of_the_wrong_issuer_gets_no_token_request",
        "login:a_no_of_somebody_else_is_not_shown",
        "login:a_person_who_says_no_at_the_issuer_ends_the_login",
    ),
    clause(
        "2026-07-28 basic/authorization#resource-parameter-implementation",
        "The resource goes with every authorization and token request.",
        "login:a_login_is_asked_for_at_the_door_and_works",
        "login:a_token_is_renewed_before_it_expires",
    ),
    clause(
        "2026-07-28 basic/authorization#access-token-usage",
        "A token goes in the Authorization header, to the server that it was issued for and to no other.",
        "login:two_resources_never_share_tokens",
    ),
    clause(
        "2026-07-28 basic/authorization#refresh-tokens",
        "A token is renewed without a person for as long as its refresh token is good.",
        "login:a_token_is_renewed_before_it_expires",
        "login:a_token_that_is_refused_is_renewed_and_the_call_made_again",
        "login:a_refresh_token_that_was_revoked_needs_a_login",
        "login:an_issuer_in_trouble_costs_no_login",
    ),
    clause(
        "2026-07-28 basic/authorization#scope-challenge-handling",
        "More scopes are asked for with those that were granted, and not over and over.",
        "login:more_scopes_are_asked_for_when_a_call_needs_them_and_those_before_are_kept",
        "login:more_scopes_that_nobody_grants_are_asked_for_once",
        "login:more_scopes_with_nobody_there_are_said_with_what_to_do",
    ),
    clause(
        "2026-07-28 basic/authorization/security-considerations#authorization-code-protection",
        "PKCE with S256 is used, and an issuer that does not say that it knows it is refused.",
        "login:a_login_is_asked_for_at_the_door_and_works",
        "login:an_issuer_that_does_not_say_that_it_knows_pkce_is_refused",
    ),
    clause(
        "2026-07-28 basic/authorization/security-considerations#token-theft",
        "Tokens are kept encrypted, and a login that is ended is revoked.",
        "login:what_is_kept_can_not_be_read_in_the_files",
        "login:a_login_that_was_moved_to_another_resource_does_not_open",
        "login:a_login_whose_key_is_gone_says_so",
        "login:the_key_is_in_the_keyring_where_there_is_one",
        "login:logging_out_revokes_and_forgets",
    ),
    clause(
        "2026-07-28 basic/authorization/security-considerations#open-redirection",
        "An answer with another state than ours is none.",
        "login:what_was_not_asked_for_does_not_end_a_login",
        "login:the_address_that_a_browser_elsewhere_ended_at_can_be_pasted",
    ),
    clause(
        "2026-07-28 tutorials/security/security_best_practices#server-side-request-forgery-ssrf",
        "Discovery and token requests go to https on public addresses, or where the operator says, redirects too.",
        "login:an_address_that_is_not_public_is_not_asked",
        "login:a_redirect_to_an_address_that_is_not_public_is_not_followed",
        "login:an_address_that_the_operator_allows_is_asked",
    ),
)

OWN = frozenset(
    {
        "login:a_call_that_waits_for_its_answer_holds_up_no_other",
        "login:a_folder_that_can_not_be_written_is_said",
        "login:a_key_or_an_assertion_that_can_not_be_used_is_said",
        "login:a_login_is_there_for_the_next_run_and_asked_for_once",
        "login:a_person_who_does_not_want_to_log_in_is_not_asked_again",
        "login:accounts_at_one_server_never_share_tokens",
        "login:nobody_to_log_in_is_said_with_what_to_do",
        "login:two_at_once_use_a_refresh_token_once",
        "login:what_already_proves_who_we_are_takes_no_login",
        "asks:a_run_asks_at_the_door_by_which_it_came_in",
        "asks:a_server_that_asks_without_end_is_not_answered_any_more",
        "asks:no_call_is_given_up_while_its_server_waits_for_the_person",
        "hostile:a_broken_answer_is_an_answer_and_the_next_call_works",
        "hostile:a_server_that_asks_without_end_is_heard_a_while",
        "hostile:a_server_that_dies_of_listing_its_tools_is_given_up_in_words",
        "hostile:a_server_that_keeps_dying_is_given_up_in_words_and_tried_again_when_asked",
        "hostile:a_server_that_logs_without_end_is_heard_a_while",
        "hostile:no_server_keeps_the_event_loop_busy",
        "hostile:a_tool_that_is_not_valid_spoils_no_other",
        "http:a_fault_of_one_request_is_one_error_and_only_a_read_is_made_again",
        "http:a_server_that_is_not_there_is_named_with_the_cause",
        "http:the_given_headers_go_with_every_request",
        "orphans:nothing_is_left_after_many_starts_and_kills",
        "orphans:nothing_is_left_when_a_signal_ends_the_whole_program",
        "peers:the_fetch_server_refuses_and_says_so",
        "peers:the_filesystem_server_keeps_to_its_folder",
        "peers:the_memory_server_remembers",
        "peers:the_sequential_thinking_server_counts_thoughts",
        "requirements:every_clause_has_tests_that_exist",
        "requirements:every_test_is_for_a_clause_or_for_a_promise_of_our_own",
        "stdio:a_server_that_dies_between_calls_is_there_for_the_next_one",
        "stdio:a_server_that_dies_in_a_call_is_restarted",
        "stdio:a_server_that_does_not_start_says_why_how_and_its_last_words",
        "stdio:a_toolset_can_be_opened_again_and_offers_the_same_object",
        "stdio:a_toolset_that_is_not_open_or_open_already_says_so",
        "stdio:an_error_of_the_block_leaves_it_as_itself",
        "stdio:opening_does_not_wait_and_servers_start_side_by_side",
        "stdio:the_server_gets_only_the_base_variables_and_the_given_ones",
        "target:a_command_gets_the_base_variables_and_the_given_ones_and_no_secret",
        "target:a_command_may_be_a_line_or_an_argv_and_a_url_is_http",
        "target:a_server_gets_a_short_name_from_its_package_or_host",
        "target:a_url_is_shown_without_what_may_be_secret",
        "target:what_is_no_server_or_does_not_fit_is_the_operators_mistake",
        "wire:retry_after_is_seconds_or_a_date",
    }
)
"""Tests of what no clause asks for: supervision, restarts, names, bounds."""
