"""The style of the report's page: light or dark as the reader's system is, one column on a phone."""

STYLE = """\
:root { color-scheme: light dark; --ink: #1c2430; --quiet: #56606e; --paper: #ffffff; --panel: #f5f7fa; --line: #d5dbe3;
  --train: #2563b8; --validation: #b45a09; --test: #0b7a6f; --error: #b3261e; --warning: #a15c00; --note: #4a5a75; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaf0; --quiet: #a3adba; --paper: #12161c; --panel: #1b212a; --line: #36404d;
    --train: #6ea8f5; --validation: #f0a04b; --test: #45c9b8; --error: #ff8a80; --warning: #f2b24c; --note: #a9b9d6; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; line-height: 1.25; } h2 { margin-top: 2.5rem; font-size: 1.25rem; } h3 { margin: 0; font-size: 1rem; }
p, li, h1, h3, dd, .long { overflow-wrap: anywhere; }
article { margin: 1rem 0; padding: 1rem; border: 1px solid var(--line); border-radius: .5rem; background: var(--panel); }
article > p { margin: .5rem 0; }
.quiet, footer, figcaption { color: var(--quiet); }
.tiles { display: flex; flex-wrap: wrap; gap: .75rem; margin: 0; padding: 0; list-style: none; }
.tiles li { padding: .5rem 1rem; border: 1px solid var(--line); border-radius: .5rem; background: var(--panel); }
.tiles b { font-size: 1.5rem; margin-right: .25rem; }
.tiles .error b { color: var(--error); } .tiles .warning b { color: var(--warning); } .tiles .note b { color: var(--note); }
.badge { padding: .1rem .5rem; border-radius: .25rem; color: var(--paper); font-size: .8rem; font-weight: 600; }
.badge.error { background: var(--error); } .badge.warning { background: var(--warning); }
.badge.note { background: var(--note); }
table { width: 100%; border-collapse: collapse; font-size: .9rem; }
th, td { padding: .4rem .5rem; border-top: 1px solid var(--line); text-align: left; vertical-align: top; }
thead th { border-top: 0; color: var(--quiet); font-weight: 400; }
.examples { table-layout: fixed; } .examples th:first-child { width: 28%; }
@media (max-width: 40rem) { .examples thead { display: none; } .examples td { display: block; padding: .2rem 0; }
  .examples tr, .examples tbody { display: block; } .examples td + td { border: 0; padding-bottom: .8rem; } }
code { font-size: .85em; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 1rem 2rem; }
figure { margin: 1rem 0 0; max-width: 32rem; } figcaption { margin-bottom: .25rem; }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { font: 13px system-ui, sans-serif; fill: var(--ink); } svg .value { font-size: 12px; fill: var(--quiet); }
svg .middle { text-anchor: middle; } svg .end { text-anchor: end; } svg .axis { stroke: var(--line); }
svg .train { fill: var(--train); } svg .validation { fill: var(--validation); } svg .test { fill: var(--test); }
svg .error { fill: var(--error); } svg .warning { fill: var(--warning); } svg .note { fill: var(--note); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; margin: .5rem 0 0; } dd { margin: 0; }
footer { margin-top: 2.5rem; border-top: 1px solid var(--line); font-size: .9rem; }
"""
