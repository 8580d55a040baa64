import { markup } from './markup';
import type { Markup } from './markup';
import { STYLE } from './style';

/**
 * Returns an HTML document that needs nothing else: it has no scripts and makes no requests, and its policy tells the
 * browser to allow none.
 */
export function page(title: string, content: readonly Markup[]): string {
  return markup`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<style>${STYLE}</style>
</head>
<body>
<h1>${title}</h1>
${content}
</body>
</html>
`.text;
}

/** Returns a section under a heading. */
export function section(heading: string, content: readonly Markup[]): Markup {
  return markup`<section><h2>${heading}</h2>${content}</section>`;
}
