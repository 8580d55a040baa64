/** Markup that needs no more escaping. */
export class Markup {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

type Content = string | number | null | Markup | readonly Markup[];

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Builds markup from a template, whose values are escaped unless they are markup. */
export function markup(parts: TemplateStringsArray, ...values: readonly Content[]): Markup {
  return new Markup(
    parts
      .map((part, at) => part + (at < values.length ? escaped(values[at] ?? null) : ''))
      .join(''),
  );
}

function escaped(content: Content): string {
  if (content instanceof Markup) return content.text;
  if (typeof content === 'object' && content !== null) {
    return content.map(({ text }) => text).join('\n');
  }
  return String(content ?? '–').replace(/[&<>"']/g, (character) => ENTITIES[character] ?? '');
}

/** Returns a table; a sentence in its place without rows. */
export function table(heads: readonly string[], rows: readonly (readonly Content[])[]): Markup {
  if (rows.length === 0) return markup`<p class="none">None.</p>`;
  const head = heads.map((name) => markup`<th>${name}</th>`);
  const body = rows.map(
    (cells) => markup`<tr>${cells.map((cell) => markup`<td>${cell}</td>`)}</tr>`,
  );
  return markup`<table><thead><tr>${head}</tr></thead><tbody>${body}</tbody></table>`;
}
