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

/** Returns a table of some members of each row, under their names; a sentence in its place without rows. */
export function listed<T extends object>(
  rows: readonly T[],
  ...members: readonly (keyof T & string)[]
): Markup {
  if (rows.length === 0) return markup`<p class="none">None.</p>`;
  const heads = members.map((name) => markup`<th>${words(name)}</th>`);
  const body = rows.map((row) => {
    const cells = members.map((name) => markup`<td>${cell(name, row[name])}</td>`);
    return markup`<tr>${cells}</tr>`;
  });
  return markup`<table><thead><tr>${heads}</tr></thead><tbody>${body}</tbody></table>`;
}

function cell(name: string, value: unknown): Content {
  const text = textOf(value);
  if (name === 'severity') return markup`<span class="tag ${text}">${text}</span>`;
  if (name === 'id') return markup`<code class="id">${text}</code>`;
  return ['sql', 'kek'].includes(name) ? markup`<code>${text}</code>` : text;
}

function textOf(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (Array.isArray(value)) return value.map(textOf).join('; ');
  if (typeof value === 'string') return value;
  if (typeof value !== 'object') return JSON.stringify(value);
  return Object.entries(value)
    .map(([name, member]) => (name === 'kind' ? '' : `${words(name)} `) + String(textOf(member)))
    .join(', ');
}

/** Returns the name of a member in words, `cryptoperiodDays` as `cryptoperiod days`. */
function words(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}
