import { bareSql, columnReferences } from './query/sql-references';
import type { ColumnReference } from './query/sql-references';
import { isHarmless } from './query/harmless-reference';
import type { EncryptedColumn } from './encrypted-column';

/** A table, or a view of one, with its encrypted columns by name; all names in lower case. */
export interface EncryptingTable {
  /** Without schema. */
  readonly name: string;
  readonly columns: ReadonlyMap<string, EncryptedColumn>;
}

/** A ciphertext that a query hands out. */
export interface Exposure {
  readonly encrypted: EncryptedColumn;
  /** Name of the output column in lower case; `undefined` where the text does not tell. */
  readonly as: string | undefined;
}

/** What ends a table in FROM, and so is no alias of it. */
const NO_ALIAS =
  'on|where|join|left|right|inner|outer|cross|full|natural|using|group|order|having|limit|offset|fetch|for|union|intersect|except|window|tablesample|indexed|not|set';

const NAME = String.raw`(?:"(?:[^"]|"")+"|[\p{L}_][\p{L}\p{N}_$]*)`;
const ALIAS = new RegExp(String.raw`^\s+(?:AS\s+)?(?!(?:${NO_ALIAS})\b)(${NAME})`, 'iu');
const STAR = new RegExp(String.raw`((?:${NAME}\s*\.\s*)*)\*`, 'gu');
const OUTPUT = new RegExp(
  String.raw`^\s*(?:(?:AS\s+)?(?!FROM\b)(${NAME})\s*)?(?=,|\bFROM\b|$)`,
  'iu',
);

/**
 * The ciphertexts that a SELECT hands out: encrypted columns that it names and tests for more than
 * NULL, and stars. Text is all there is to go by, so that doubt counts as handing out; names that are
 * qualified, or of a sub-query without the table, are told apart.
 */
export function exposures(sql: string, tables: readonly EncryptingTable[]): Exposure[] {
  const query = new QueryText(sql);
  return tables.flatMap((table) => {
    const mentions = query.mentionsOf(table.name);
    return mentions.length === 0 ? [] : query.exposuresOf(table, mentions);
  });
}

/** Where a table stands in a query, and what it is called there. */
interface Mention {
  readonly region: Region;
  readonly qualifiers: readonly string[];
}

/** A SELECT with its parentheses: the statement itself, or a sub-query in it. */
interface Region {
  readonly parent: Region | undefined;
}

class QueryText {
  readonly #sql: string;
  readonly #references: readonly ColumnReference[];
  readonly #root: Region = { parent: undefined };
  /** The region of each character. */
  readonly #regions: readonly Region[];
  readonly #isCombined: boolean;

  constructor(sql: string) {
    this.#sql = bareSql(sql);
    this.#references = [...columnReferences(this.#sql)];
    this.#regions = regionsOf(this.#sql, this.#root);
    // Outputs are then named by the first of the combined SELECTs.
    this.#isCombined = /\b(?:UNION|INTERSECT|EXCEPT|WITH)\b/i.test(this.#sql);
  }

  mentionsOf(table: string): Mention[] {
    return this.#references
      .filter(({ qualifier, path }) => qualifier === undefined && lastOf(path) === table)
      .filter(({ before }) => /\b(?:FROM|JOIN|ONLY)[\s(]*$|,\s*$/i.test(before))
      .map(({ path, before, after }) => ({
        region: this.#regionAt(before.length),
        qualifiers: [path, table, ...aliasIn(after)],
      }));
  }

  exposuresOf({ columns }: EncryptingTable, mentions: readonly Mention[]): Exposure[] {
    const named = this.#references.flatMap((reference) => {
      const encrypted = columns.get(reference.path);
      if (encrypted === undefined || isFunction(reference) || isHarmless(reference, encrypted))
        return [];
      const region = this.#regionAt(reference.before.length);
      if (!mentions.some((mention) => isOf(mention, region, reference.qualifier))) return [];
      return [{ encrypted, as: this.#outputOf(reference, region) }];
    });
    const stars = this.#stars().filter(({ qualifier, region }) =>
      mentions.some((mention) =>
        qualifier === undefined
          ? mention.region === region
          : mention.qualifiers.includes(qualifier),
      ),
    );
    const starred = stars.flatMap(({ region }) =>
      [...columns].map(([name, encrypted]) => ({
        encrypted,
        as: this.#isOutermost(region) ? name : undefined,
      })),
    );
    return [...named, ...starred];
  }

  #stars(): { readonly qualifier: string | undefined; readonly region: Region }[] {
    return [...this.#sql.matchAll(STAR)].flatMap((match) => {
      const before = this.#sql.slice(0, match.index);
      const isSelected = /(?:\bSELECT|\bDISTINCT|\bALL|,)\s*$/i.test(before);
      if (!isSelected || /\bEXISTS\s*\(\s*SELECT\s*$/i.test(before)) return [];
      const names = (match[1] ?? '').split('.').slice(0, -1);
      const qualifier =
        names.length > 0 ? names.map((n) => unquoted(n.trim())).join('.') : undefined;
      return [{ qualifier, region: this.#regionAt(match.index) }];
    });
  }

  #outputOf({ before, path, after }: ColumnReference, region: Region): string | undefined {
    const isItem = /(?:\bSELECT|\bDISTINCT|\bALL|,)\s*$/i.test(before);
    const output = OUTPUT.exec(after);
    if (!isItem || output === null || !this.#isOutermost(region)) return undefined;
    return output[1] === undefined ? path : unquoted(output[1]);
  }

  #isOutermost(region: Region): boolean {
    return region === this.#root && !this.#isCombined;
  }

  #regionAt(index: number): Region {
    return this.#regions[index] ?? this.#root;
  }
}

/** A column without a qualifier may be of a table around the sub-query that it stands in. */
function isOf({ region, qualifiers }: Mention, at: Region, qualifier: string | undefined): boolean {
  if (qualifier !== undefined) return qualifiers.includes(qualifier);
  for (let each: Region | undefined = at; each !== undefined; each = each.parent) {
    if (each === region) return true;
  }
  return false;
}

function regionsOf(sql: string, root: Region): Region[] {
  const open: Region[] = [root];
  const regions: Region[] = [];
  for (let i = 0; i < sql.length; i++) {
    const current = open.at(-1) ?? root;
    if (sql[i] === ')' && open.length > 1) open.pop();
    regions.push(current);
    if (sql[i] !== '(') continue;
    const isQuery = /^\s*(?:SELECT|WITH)\b/i.test(sql.slice(i + 1, i + 40));
    open.push(isQuery ? { parent: current } : current);
  }
  return regions;
}

/** A name before a parenthesis is a function, one before a string the type of it. */
function isFunction({ qualifier, after }: ColumnReference): boolean {
  return qualifier === undefined && /^\s*[('"]/.test(after);
}

function aliasIn(after: string): string[] {
  const [, alias] = ALIAS.exec(after) ?? [];
  return alias === undefined ? [] : [unquoted(alias)];
}

function lastOf(path: string): string {
  return path.slice(path.lastIndexOf('.') + 1);
}

function unquoted(name: string): string {
  return name.replace(/^"|"$/g, '').replaceAll('""', '"').toLowerCase();
}
