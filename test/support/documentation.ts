import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const root = join(__dirname, '..', '..');

/** The pages that a reader is pointed to, from the root of the repository. */
export const PAGES = ['README.md', ...readdirSync(join(root, 'docs')).map((name) => `docs/${name}`)]
  .filter((page) => page.endsWith('.md'))
  .sort();

/** A fenced block, with what the HTML comment right above it says about it. */
export interface Block {
  language: string;
  content: string;
  /** Line of the fence, from 1. */
  line: number;
  /** The paragraph right above, which says what the block is. */
  lead: string;
  /** The block is this file of the reader's project. */
  file?: string;
  /** The block is an excerpt of this file of the repository, which is tested where it is. */
  from?: string;
  /** The block holds for this major of TypeORM only. */
  typeorm?: string;
  /** The snippet ends in an error of this code. */
  throws?: string;
  /** What the block needs that is not there for every test run: it is compiled, and not run. */
  needs?: string;
  /** The block is what the shell block before it prints. */
  prints?: boolean;
}

export function readPage(page: string): string {
  return readFileSync(join(root, page), 'utf8');
}

/**
 * The fenced blocks of a page. A comment above one, with or without an empty line between, such as `<!-- file: src/a.ts; typeorm: 0.3 -->`,
 * gives its properties.
 */
export function blocksOf(markdown: string): Block[] {
  const fences = /(?:^<!-- (.*) -->\n\n?)?^```(\w+)\n([\s\S]*?)^```$/gm;
  return [...markdown.matchAll(fences)].map((match) => {
    const [whole, comment = '', language = '', content = ''] = match;
    const line = markdown.slice(0, match.index + whole.indexOf('```')).split('\n').length;
    const lead = markdown.slice(0, match.index).trimEnd().split('\n').at(-1) ?? '';
    return { language, content, line, lead, ...properties(comment) };
  });
}

function properties(comment: string): Partial<Block> {
  return Object.fromEntries(
    comment
      .split(';')
      .map((part) => part.trim())
      .filter((part) => part !== '')
      .map((part) => {
        const [name = '', value] = part.split(': ');
        return [name, value ?? true];
      }),
  );
}

/** Anchors of the headings of a page, as GitHub makes them. */
export function anchorsOf(markdown: string): string[] {
  return [...markdown.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  );
}
