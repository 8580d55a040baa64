/** The style of the document, on a screen and on paper. Colours always come with words. */
export const STYLE = `
body { font: 14px/1.5 system-ui, sans-serif; color: #1b1f24; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2rem; border-bottom: 1px solid #d0d7de; } h3 { font-size: 1rem; }
table { border-collapse: collapse; width: 100%; font-size: 0.78rem; margin: 0.75rem 0; }
th::first-letter { text-transform: uppercase; } th { text-align: left; border-bottom: 2px solid #8c959f; } th, td { padding: 0.25rem 0.5rem 0.25rem 0; vertical-align: top; }
td { border-bottom: 1px solid #eaeef2; overflow-wrap: break-word; } code { font-size: 0.7rem; overflow-wrap: anywhere; } .id { white-space: nowrap; }
.none { color: #57606a; } .tag, .key { padding: 0 0.4rem; border-radius: 0.6rem; color: #fff; font-size: 0.75rem; }
.tag.high, .key.cleartext, .key.compromised { background: #b42318; } .tag.medium, .key.due { background: #b54708; } .tag.low { background: #475467; } .key.active { background: #175cd3; } .key.older { background: #6b8fc9; } .key.null { background: #98a2b3; }
svg { width: 100%; height: auto; font: 11px system-ui, sans-serif; margin-top: 0.75rem; } .end { text-anchor: end; }
.axis { fill: #57606a; } .empty { fill: #f2f4f7; } text.inside { fill: #fff; }
.active { fill: #175cd3; } .older { fill: #6b8fc9; } .good { fill: #027a48; } .null { fill: #98a2b3; }
.high, .cleartext, .compromised { fill: #b42318; } .medium, .due { fill: #b54708; } .low { fill: #475467; }
svg, * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
@page { size: A4 landscape; margin: 14mm; }
@media print { body { max-width: none; margin: 0; padding: 0; } tr, svg { break-inside: avoid; } h2, h3 { break-after: avoid; } }
`;
