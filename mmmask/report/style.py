"""The style sheet and the script of a report."""

# Colours of runs, for light and for dark pages: lines on both have a contrast of at least 3.
LIGHT = ('#0b62c4', '#b8470a', '#11793a', '#8a3ab9', '#b3123f', '#0e7c86', '#7a5c00', '#5a5f6b')
DARK = ('#6db3ff', '#ffa066', '#5fd38a', '#d49bff', '#ff8098', '#56d3de', '#e3c34b', '#b9bfca')
DASHES = ('none', '5 3', '1.5 2.5')  # of the first, the second and the third eight runs

CSS = """
:root { color-scheme: light dark; --page: #fff; --ink: #1d2129; --soft: #555d6b; --line: #d5d9e0;
  --panel: #f5f6f8; --link: #0b57d0; --warn: #8a3b00 }
@media (prefers-color-scheme: dark) { :root { --page: #14161a; --ink: #e6e8ec; --soft: #a9b0bd;
  --line: #3a3f49; --panel: #1e2127; --link: #8ab4ff; --warn: #ffb37a } }
* { box-sizing: border-box }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif }
main { max-width: 1240px; margin: 0 auto; padding: 0 16px 48px }
h1 { font-size: 1.5rem; margin: 20px 0 4px }
h2 { font-size: 1.2rem; margin: 36px 0 8px; padding-bottom: 4px;
  border-bottom: 1px solid var(--line) }
h3 { font-size: 1rem; margin: 18px 0 6px; overflow-wrap: anywhere }
p { margin: 6px 0 }
.soft, figcaption, .missing { color: var(--soft) }
.bar { position: sticky; top: 0; z-index: 1; display: flex; flex-wrap: wrap; gap: 4px 18px;
  padding: 8px 0; background: var(--page); border-bottom: 1px solid var(--line) }
.bar label, .name { overflow-wrap: anywhere }
.bar label { cursor: pointer }
.swatch { display: inline-block; width: 18px; height: 4px; margin: 0 6px 4px 0; border-radius: 2px;
  background: currentColor }
.wide { overflow-x: auto; max-width: 100% }
table { border-collapse: collapse; font-size: .9rem }
th, td { padding: 4px 12px 4px 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; min-width: 6em }
th { font-weight: 600 }
tbody th { min-width: 8em }
@media (min-width: 700px) { tbody th { white-space: nowrap } }
.charts { display: grid; gap: 16px;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 340px), 1fr)) }
figure { margin: 0; padding: 10px; background: var(--panel); border-radius: 8px; min-width: 0 }
figcaption { font-size: .85rem; min-height: 1.5em; overflow-wrap: anywhere }
figure h3 { margin: 0 0 4px }
svg { display: block; width: 100%; height: auto; overflow: visible; touch-action: pan-y }
svg text { fill: var(--soft); font-size: 11px }
.grid { stroke: var(--line); stroke-width: 1 }
.axis { stroke: var(--soft); stroke-width: 1 }
.cursor { stroke: var(--soft); stroke-width: 1; visibility: hidden }
.curve { fill: none; stroke: currentColor; stroke-width: 1.6; stroke-linejoin: round }
circle { fill: currentColor }
.picture { margin: 8px 0 }
.entry { overflow-wrap: anywhere; white-space: pre-wrap }
.picture img { display: block; min-width: min(720px, 100%); max-width: 100%; height: auto;
  background: #fff }
@media (max-width: 700px) { .picture img { max-width: none; width: 720px } }
pre { overflow-x: auto; padding: 10px; background: var(--panel); border-radius: 8px;
  font: .82rem/1.45 ui-monospace, "DejaVu Sans Mono", monospace }
code { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .9em }
details > summary { cursor: pointer; margin: 8px 0 }
.level { color: var(--warn); font-weight: 600 }
body:has(#over-images:checked) .over-epochs, body:has(#over-epochs:checked) .over-images {
  display: none }
"""

# Shows the values of all runs below a chart where the pointer is.
SCRIPT = """
for (const svg of document.querySelectorAll('svg.chart')) {
  const box = svg.viewBox.baseVal, cursor = svg.querySelector('.cursor');
  const note = svg.closest('figure').querySelector('output');
  const [x0, x1] = svg.dataset.x.split(' ').map(Number);
  const [y0, y1] = svg.dataset.y.split(' ').map(Number);
  const show = value => Number(value.toPrecision(4)).toString();
  svg.addEventListener('pointermove', event => {
    const matrix = svg.getScreenCTM().inverse();
    const x = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix).x;
    const found = [];
    for (const line of svg.querySelectorAll('.curve')) {
      const run = line.parentNode;
      if (getComputedStyle(run).display === 'none') continue;
      const near = [...line.points].reduce(
        (a, b) => Math.abs(b.x - x) < Math.abs(a.x - x) ? b : a);
      const label = document.querySelector(`label[data-run="${run.dataset.run}"]`);
      found.push({run: label.textContent.trim(), near});
    }
    if (!found.length) return;
    const at = found[0].near.x;
    const px = (at - LEFT) / (box.width - LEFT - RIGHT) * (x1 - x0) + x0;
    note.textContent = show(px) + ': ' + found.map(({run, near}) => {
      const up = (box.height - BOTTOM - near.y) / (box.height - TOP - BOTTOM);
      return (found.length > 1 ? run + ' ' : '') + show(up * (y1 - y0) + y0);
    }).join(', ');
    for (const [key, value] of [['x1', at], ['x2', at], ['y1', TOP], ['y2', box.height - BOTTOM]])
      cursor.setAttribute(key, value);
    cursor.style.visibility = 'visible';
  });
  svg.addEventListener('pointerleave', () => { cursor.style.visibility = 'hidden' });
}
"""


def run_rules(count: int) -> str:
    """The colour of each run, in light and in dark, and how to hide it by its check box."""
    light = [f'.run-{i} {{ color: {LIGHT[i % len(LIGHT)]} }}' for i in range(count)]
    dark = [f'.run-{i} {{ color: {DARK[i % len(DARK)]} }}' for i in range(count)]
    dashes = [
        f'.run-{i} .curve {{ stroke-dasharray: {DASHES[i // len(LIGHT) % len(DASHES)]} }}'
        for i in range(len(LIGHT), count)
    ]
    hidden = [
        f'body:has(#show-{i}:not(:checked)) svg .run-{i} {{ display: none }}' for i in range(count)
    ]
    dark = ['@media (prefers-color-scheme: dark) {', *dark, '}']
    return '\n'.join(light + dark + dashes + hidden)
