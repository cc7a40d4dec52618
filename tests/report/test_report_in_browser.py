"""A report in a real browser: on a desktop and on a phone, in light and in dark mode."""

import shutil

import pytest
from test_report import write_run

from mmmask.report import write_report

BROWSERS = ('chromium-headless-shell', 'chromium', 'chromium-browser', 'google-chrome', 'chrome')
DESKTOP, PHONE = dict(width=1280, height=900), dict(width=390, height=844)

# Contrast as WCAG 2 defines it, of every visible text with what lies behind it.
CONTRASTS = """
() => {
  const channels = color => color.match(/[\\d.]+/g).map(Number);
  const luminance = color => {
    const [r, g, b] = channels(color).slice(0, 3).map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = element => {
    for (; element; element = element.parentElement) {
      const color = getComputedStyle(element).backgroundColor;
      if ((channels(color)[3] ?? 1) > 0) return color;
    }
    throw new Error('no background');
  };
  const found = [];
  for (const element of document.body.querySelectorAll('*')) {
    const text = [...element.childNodes].filter(n => n.nodeType === 3).map(n => n.data).join('');
    if (!text.trim() || !element.checkVisibility() || element.tagName === 'SCRIPT') continue;
    const style = getComputedStyle(element);
    const color = element instanceof SVGElement ? style.fill : style.color;
    const pair = [luminance(color), luminance(behind(element))].sort((a, b) => b - a);
    found.push([text.trim().slice(0, 40), (pair[0] + 0.05) / (pair[1] + 0.05)]);
  }
  return found;
}
"""
LINE_CONTRASTS = (
    CONTRASTS.replace('body.querySelectorAll', 'querySelectorAll')
    .replace(
        "if (!text.trim() || !element.checkVisibility() || element.tagName === 'SCRIPT') continue;",
        "if (!element.matches('.curve') || !element.checkVisibility()) continue;",
    )
    .replace('style.fill', 'style.stroke')
)
# Groups that are not displayed have no boxes; checkVisibility() does not see that in an SVG.
SEEN = "figure => [...figure.querySelectorAll('svg {}')].filter(one => one.getClientRects().length)"


@pytest.fixture(scope='module')
def browser():
    playwright = pytest.importorskip('playwright.sync_api', reason='playwright is not installed')
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip('there is no Chromium on this machine: apt-get install chromium-headless-shell')
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=path, args=['--no-sandbox'])
        yield browser
        browser.close()


@pytest.fixture(scope='module')
def report(tmp_path_factory):
    """Nine runs, so that the colours repeat, one with a long name."""
    folder = tmp_path_factory.mktemp('runs')
    names = ['a_very_long_name_of_a_run_' * 4, *map(str, range(8))]
    runs = [write_run(folder / name, seed=i, depth=i) for i, name in enumerate(names)]
    return write_report(runs, folder / 'report.html')


@pytest.fixture
def open_page(browser, report):
    pages = []

    def open_page(viewport, scheme):
        page = browser.new_page(viewport=viewport, color_scheme=scheme)
        pages.append(page)
        page.problems = []
        page.on('console', lambda message: page.problems.append(message.text))
        page.on('pageerror', lambda error: page.problems.append(str(error)))
        page.on('requestfailed', lambda request: page.problems.append(request.url))
        page.goto(report.as_uri())
        return page

    yield open_page
    for page in pages:
        page.close()


@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('viewport', [DESKTOP, PHONE], ids=['desktop', 'phone'])
def test_the_page_fits_and_can_be_read(open_page, viewport, scheme):
    page = open_page(viewport, scheme)
    assert page.evaluate('document.documentElement.scrollWidth') <= viewport['width']
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert page.evaluate('document.documentElement.scrollWidth') <= viewport['width']
    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) > 300
    assert [one for one in contrasts if one[1] < 4.5] == []
    lines = page.evaluate(LINE_CONTRASTS)
    assert len(lines) == 9 * 6 and min(value for _, value in lines) >= 3
    dark = page.evaluate('getComputedStyle(document.body).backgroundColor')
    assert dark == ('rgb(20, 22, 26)' if scheme == 'dark' else 'rgb(255, 255, 255)')
    sizes = page.evaluate(
        "[...document.querySelectorAll('svg text')].map(one => one.getBoundingClientRect().height)"
    )
    assert min(size for size in sizes if size) >= 9
    assert page.problems == []


def test_every_picture_is_shown_and_every_curve_has_the_points_of_the_log(open_page):
    page = open_page(DESKTOP, 'light')
    widths = page.evaluate('[...document.images].map(one => one.naturalWidth)')
    assert widths == [1600] * 27
    counts = page.locator('figure[data-title]').evaluate_all(
        """figures => Object.fromEntries(figures.map(figure => [
            figure.dataset.title,
            [...figure.querySelectorAll('.curve')].map(line => line.points.length)]))"""
    )
    assert counts == {
        title: [number] * 18
        for title, number in {
            'loss': 8,
            'learning rate': 8,
            'k-NN top-1': 5,
            'memory': 8,
            'throughput': 8,
            'data wait': 8,
        }.items()
    }


def test_axes_runs_and_values_can_be_chosen(open_page):
    page = open_page(DESKTOP, 'light')
    loss = page.locator("figure[data-title='loss']")
    visible = SEEN.format('.curve') + '.length'
    texts = SEEN.format('text') + '.map(one => one.textContent)'
    assert loss.evaluate(visible) == 9 and 'epochs' in loss.evaluate(texts)
    page.locator('#over-images').check()
    assert loss.evaluate(visible) == 9 and 'images' in loss.evaluate(texts)
    page.locator('#over-epochs').check()
    for index in range(9):
        if index != 4:
            page.locator(f'#show-{index}').uncheck()
    assert loss.evaluate(visible) == 1
    # The pointer in the middle of the chart, at 2 or 2.5 of 0.5 to 4 epochs, shows the value there.
    chart = loss.locator('.over-epochs svg')
    width = chart.bounding_box()['width']
    chart.hover(position=dict(x=(46 + 152) / 360 * width, y=50))
    assert loss.locator('output').inner_text() in (f'2: {5 + 1 / 40:.4g}', f'2.5: {5 + 1 / 50:.4g}')
    assert page.problems == []
