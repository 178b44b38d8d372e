"""The plot is well-formed, says its axes, and shows what the curve holds."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from agentrt.errors import ConfigError
from agentrt.plan import plot
from agentrt.plan.money import ApiPrice
from agentrt.plan.planner import Request, make_plan
from agentrt.plan.sizing import Work

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def small_moe():
    api = ApiPrice(0.25, 1.5, 0.25, "test")
    return make_plan(Request("qwen3.6-35b-a3b", "H100", "fp8", api=api, seats=(200.0, 20.0), curve_to=60))


@pytest.fixture(scope="module")
def k2():
    return make_plan(
        Request("kimi-k2", "H100", work=Work(developers=50), api=ApiPrice(0.01, 0.01, 0.01, "test"), curve_to=60)
    )


def elements(svg, name, kind=None):
    found = ElementTree.fromstring(svg).iter(SVG + name)
    return [one for one in found if kind is None or one.get("class") == kind]


def words(svg):
    return [one.text for one in elements(svg, "text")]


def test_the_svg_has_axes_with_units_a_legend_and_a_line_for_each_alternative_and_basis(small_moe):
    drawn = plot.svg(small_moe)
    said = words(drawn)
    assert "Break-even (months after purchase)" in said
    assert "Developers" in said
    assert "H100s that the team needs" in said
    assert any(text.startswith("GPUs only: $25,000 and 0.7 kW") for text in said)
    assert any(text.startswith("whole server: 1.55 x price") for text in said)
    assert any("not measurements" in text for text in said)
    assert len(elements(drawn, "path", "gpus-only")) == len(elements(drawn, "path", "whole-server")) == 3
    assert len(elements(drawn, "path", "gpus")) == 1
    assert "vs $200 a month a seat" in said


def test_points_lie_where_their_numbers_say(small_moe):
    drawn = plot.svg(small_moe)
    path = elements(drawn, "path", "gpus-only")[0].get("d")
    drawn_points = [tuple(map(float, pair)) for pair in re.findall(r"[ML]([-\d.]+) ([-\d.]+)", path)]
    first = next(point for point in small_moe.curve if point.months[0][0] is not None)
    x, y = drawn_points[10 - first.developers]
    assert x == pytest.approx(plot.LEFT + (plot.RIGHT - plot.LEFT) * 10 / 60, abs=0.1)
    months = small_moe.curve[9].months[0][0]
    assert y == pytest.approx(plot.BOTTOM - (plot.BOTTOM - plot.TOP) * months / 72, abs=0.1)


def test_a_curve_off_the_plot_says_so(small_moe):
    assert any(text.endswith("or never") for text in words(plot.svg(small_moe)))


def test_where_nothing_pays_back_the_axis_grows_and_the_written_off_years_stay_marked(k2):
    said = words(plot.svg(k2))
    assert any("written off" in text for text in said)
    assert any(text.isdigit() and int(text) > 72 for text in said)


def test_texts_stay_inside_the_picture(small_moe, k2):
    for made in (small_moe, k2):
        for one in elements(plot.svg(made), "text"):
            width = 0.62 * float(one.get("font-size")) * len(one.text)
            x = float(one.get("x"))
            if one.get("transform") is None and one.get("anchor") is None:
                anchor = one.get("text-anchor")
                left = x - {"start": 0, "middle": width / 2, "end": width}[anchor]
                assert left > -30
                assert 0 < float(one.get("y")) < plot.HEIGHT


def test_the_page_is_one_file_with_the_numbers_as_a_table(small_moe, tmp_path):
    plot.write(small_moe, tmp_path / "plan.html")
    page = (tmp_path / "plan.html").read_text(encoding="utf-8")
    assert "<svg" in page
    assert "<script" not in page
    assert not re.search(r"""(?:src|href)=""", page)
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert page.count("<tr>") > 10
    assert "vllm serve Qwen/Qwen3.6-35B-A3B-FP8" in page


def test_an_svg_file_parses(k2, tmp_path):
    plot.write(k2, tmp_path / "plan.svg")
    assert ElementTree.parse(tmp_path / "plan.svg").getroot().tag == SVG + "svg"


def test_names_are_escaped(tmp_path):
    (tmp_path / "<b>&").mkdir()
    config = tmp_path / "<b>&" / "config.json"
    config.write_text(
        '{"model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,'
        '"num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256}'
    )
    made = make_plan(Request(str(config), curve_to=5))
    assert any("<b>&" in text for text in words(plot.svg(made)))
    assert "<b>" not in plot.page(made)


def test_another_ending_or_too_few_points_are_refused(small_moe, tmp_path):
    with pytest.raises(ConfigError, match=r"\.svg, \.html or \.png"):
        plot.write(small_moe, tmp_path / "plan.pdf")
    with pytest.raises(ConfigError, match="can't write"):
        plot.write(small_moe, tmp_path / "nowhere" / "plan.svg")
    alone = make_plan(Request("qwen3.6-35b-a3b", quant="fp8", curve_to=1))
    with pytest.raises(ConfigError, match="--plot-to"):
        plot.write(alone, tmp_path / "plan.svg")
