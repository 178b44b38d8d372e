"""The arithmetic of a cut, and which one is chosen."""

from agentrt.compaction.price import Cut, Horizon, Rates, choose_cut, cost, worth

RATES = Rates(cached=0.1, completion=4.0)
LONG = Horizon(turns=20, growth=100.0, limit=8_000)


def test_a_cut_costs_what_is_prefilled_again_and_the_summary() -> None:
    cut = Cut(1, 9, before=6_000, after=2_000, prefix=500, asked=5_000, summary=200)
    assert cut.prefilled == 1_500
    assert cost(cut, RATES) == 1_500 + 5_000 * 0.1 + 200 * 4


def test_new_tools_at_the_head_cost_the_whole_prompt_once_more() -> None:
    assert Cut(1, 9, before=6_000, after=2_000, prefix=500, heads=2_000).prefilled == 3_500


def test_a_cut_is_worth_the_cached_tokens_that_later_turns_do_not_read() -> None:
    cut = Cut(1, 9, before=6_000, after=2_000, prefix=500)
    assert worth(cut, LONG, RATES) == 20 * 4_000 * 0.1 - 1_500
    assert worth(cut, Horizon(1, 100.0, 8_000), RATES) == 4_000 * 0.1 - 1_500


def test_only_the_turns_until_the_prompt_is_full_again_count() -> None:
    cut = Cut(1, 9, before=6_000, after=5_500, prefix=500)
    assert worth(cut, Horizon(20, 500.0, 6_000), RATES) == 1 * 500 * 0.1 - 5_000


def test_of_the_places_that_fit_the_one_that_is_worth_most_is_chosen() -> None:
    early = Cut(1, 4, before=6_000, after=3_500, prefix=500, asked=2_000, summary=100)
    late = Cut(1, 9, before=6_000, after=2_000, prefix=500, asked=5_000, summary=100)
    assert choose_cut([early, late], LONG, RATES, target=4_000, must=False) == late


def test_a_place_that_keeps_the_earlier_summary_is_chosen_over_one_that_prefills_it_again() -> None:
    whole = Cut(0, 9, before=6_000, after=1_900, prefix=200, asked=5_000, summary=100)
    later = Cut(2, 9, before=6_000, after=2_000, prefix=1_200, asked=5_000, summary=100)
    assert choose_cut([whole, later], LONG, RATES, target=4_000, must=False) == later


def test_shortening_one_early_result_does_not_pay_where_all_after_it_must_be_prefilled() -> None:
    early = Cut(2, 9, before=6_000, after=5_300, prefix=300)
    late = Cut(7, 9, before=6_000, after=5_500, prefix=5_000)
    assert choose_cut([early, late], LONG, RATES, target=5_600, must=False) == late


def test_what_does_not_pay_is_left_alone_unless_it_must_be() -> None:
    cut = Cut(1, 9, before=6_000, after=4_000, prefix=500, asked=5_000, summary=500)
    soon = Horizon(turns=2, growth=100.0, limit=8_000)
    assert choose_cut([cut], soon, RATES, target=5_000, must=False) is None
    assert choose_cut([cut], soon, RATES, target=5_000, must=True) == cut


def test_what_does_not_fit_or_saves_nothing_is_never_chosen() -> None:
    assert choose_cut([Cut(1, 9, 6_000, 4_000, 500)], LONG, RATES, target=3_000, must=True) is None
    assert choose_cut([Cut(1, 9, 6_000, 6_000, 500)], LONG, RATES, target=7_000, must=True) is None
