import { TableColumn } from 'typeorm';
import type { Driver, QueryRunner } from 'typeorm';
import { TableUtils } from 'typeorm/schema-builder/util/TableUtils.js';

import { quotedName } from '../../typeorm/dialect/mysql/names';
import { mysqlValues } from '../../typeorm/dialect/mysql/values';
import type { EncryptedColumn } from '../../typeorm/metadata/encrypted-column';
import type { ExpandedTable } from '../expanded-table';
import type { MigrationStep } from '../migration-draft';

import { isBinary, isShort, oldForm, shortFloat } from './live-column';
import type { LiveColumn } from './live-column';
import { not, queryWhether, quotedText, TableConditions } from './table-conditions';
import type { Part } from './table-definition';

/** The part of TypeORM's query runner that is used; protected, but the same in both majors. */
interface DefiningRunner {
  buildCreateColumnSql(column: TableColumn, skipPrimary: boolean): string;
}

/** Returns the definition of a column, as TypeORM would create it. */
export function definitionOf(runner: QueryRunner, column: TableColumn): string {
  return (runner as unknown as DefiningRunner).buildCreateColumnSql(column, true);
}

/** A type between that of cleartext and text. */
interface Way {
  readonly base: string;
  readonly type: string;
}

const DOUBLE: Way = { base: 'double', type: 'double' };
const DECIMAL: Way = { base: 'decimal', type: 'decimal(20,0)' };

/** By way of which types values become text, where the database would lose digits or take bytes for text. */
const WAYS_TO_TEXT: ReadonlyMap<string, Way> = new Map([
  ['float', DOUBLE],
  ['bit', DECIMAL],
]);

/** By way of which type text becomes a value; MariaDB takes text for a number of 63 bits at most. */
function wayBack({ base, type }: LiveColumn): Way | undefined {
  if (base === 'bigint' && type.includes('unsigned')) return DECIMAL;
  return base === 'bit' ? DECIMAL : undefined;
}

/** What a column is, and what it is to be. */
export interface ChangedColumn {
  readonly encrypted: EncryptedColumn;
  readonly live: LiveColumn;
  /** Its definition in the table. */
  readonly part: Part;
  /** Columns that the database changes along with any other. */
  readonly timestamps: readonly string[];
}

/**
 * The change of a column into one of ciphertexts, in both directions. It is converted into text by a statement
 * that changes all columns of the table. Statements before and after it do what the conversion cannot.
 */
export class ColumnChange {
  readonly encrypted: EncryptedColumn;
  readonly #live: LiveColumn;
  readonly #part: Part;
  readonly #timestamps: readonly string[];
  readonly #runner: QueryRunner;
  readonly #table: string;
  readonly #conditions: TableConditions;
  readonly #wanted: TableColumn;
  readonly #text: TableColumn;

  constructor(
    { runner, table }: ExpandedTable,
    { encrypted, live, part, timestamps }: ChangedColumn,
  ) {
    const { column, policy } = encrypted;
    this.encrypted = encrypted;
    this.#live = live;
    this.#part = part;
    this.#timestamps = timestamps;
    this.#runner = runner;
    this.#table = table.name;
    this.#conditions = new TableConditions(table.metadata.tablePath);
    this.#wanted = new TableColumn(
      TableUtils.createTableColumnOptions(column, runner.connection.driver),
    );
    const becomesBinary = policy.storage === 'binary' && !isBinary(live);
    this.#text = becomesBinary
      ? Object.assign(this.#wanted.clone(), { type: 'longtext', ...mysqlValues.exactCleartext })
      : this.#wanted;
  }

  /** Whether the values get another form. */
  get isConverted(): boolean {
    return this.#becomesBinary || this.#changesText;
  }

  /** Whether the statement for all columns changes this one. */
  get isAltered(): boolean {
    const { default: value, extra } = this.#live;
    return (
      this.#changesText || extra !== '' || (value ?? 'NULL') !== 'NULL' || this.check !== undefined
    );
  }

  /** What gives the column values, in SQL. */
  get defaults(): string[] {
    const { default: value, extra } = this.#live;
    const onUpdate = /\bON UPDATE\b.*/i.exec(extra)?.[0];
    return [
      ...(value === null ? [] : [`DEFAULT ${value}`]),
      ...(onUpdate === undefined ? [] : [onUpdate]),
    ];
  }

  /** The CHECK in the definition, which MariaDB has there: of JSON, or of the application. */
  get check(): string | undefined {
    return / (CHECK \(.*\))$/s.exec(this.#part.sql)?.[1];
  }

  /** The bytes that the new column takes in a row; `undefined` if its values are stored elsewhere. */
  get bytesInRow(): number | undefined {
    // A character takes four.
    return this.#wanted.type === 'varchar' ? 4 * Number(this.#wanted.length) : undefined;
  }

  get action(): string {
    return `MODIFY ${definitionOf(this.#runner, this.#text)}`;
  }

  get undoingAction(): string {
    return `MODIFY ${this.#part.sql}`;
  }

  /** Whether the statement for all columns is done. */
  get isDone(): string {
    const { name } = this.#part;
    const isConverted = hasForm(this.#driver.createFullType(this.#text), this.#text.collation);
    const isDone = this.#conditions.column(
      name,
      `${this.#becomesBinary ? `(${isConverted} OR ${hasForm(this.#wanted.type)})` : isConverted} AND ${IS_BARE}`,
    );
    return this.check === undefined ? isDone : `${isDone} AND ${not(this.#conditions.check(name))}`;
  }

  /** Whether the statement that undoes it is still to come. */
  get isToUndo(): string {
    const way = wayBack(this.#live);
    return way === undefined ? this.isDone : `(${this.isDone} OR ${this.#has(way.base)})`;
  }

  /** The steps before the statement for all columns. */
  before(): MigrationStep[] {
    const way = WAYS_TO_TEXT.get(this.#live.base);
    if (way === undefined) return [];
    return [this.#modify(this.#number(way.type), queryWhether(this.#has(this.#live.base)))];
  }

  /** The steps of `down` before the statement for all columns. */
  beforeUndoing(): MigrationStep[] {
    const when = queryWhether(this.#has(this.#text.type));
    const old = oldForm(this.#live, this.encrypted);
    const way = wayBack(this.#live);
    return [
      ...(old === undefined ? [] : [{ sql: this.#update(old), when }]),
      ...(way === undefined ? [] : [this.#modify(this.#number(way.type), when)]),
    ];
  }

  /** The steps after the statement for all columns, each with what undoes it. */
  after(): (readonly [MigrationStep, ...MigrationStep[]])[] {
    const name = this.#name;
    const isText = queryWhether(this.#has(this.#text.type));
    const digits = { value: shortFloat(name), where: isFloat(name) };
    return [
      ...(this.#live.base === 'float'
        ? [[{ sql: this.#update(digits), when: isText }] as const]
        : []),
      ...(this.#becomesBinary
        ? [
            [
              this.#modify(definitionOf(this.#runner, this.#wanted), isText),
              this.#modify(
                definitionOf(this.#runner, this.#text),
                queryWhether(this.#has(this.#wanted.type)),
              ),
            ] as const,
          ]
        : []),
    ];
  }

  get #driver(): Driver {
    return this.#runner.connection.driver;
  }

  get #name(): string {
    return quotedName(this.#part.name);
  }

  get #becomesBinary(): boolean {
    return this.#text !== this.#wanted;
  }

  get #changesText(): boolean {
    const { type, collation } = this.#live;
    return (
      this.#driver.createFullType(this.#text) !== type ||
      (this.#text.collation ?? null) !== collation
    );
  }

  /** Whether the column has a type at present. */
  #has(base: string): string {
    return this.#conditions.column(this.#part.name, `data_type = '${base}'`);
  }

  /** The definition of a column of numbers. */
  #number(type: string): string {
    return `${this.#name} ${type} ${this.#wanted.isNullable ? 'NULL' : 'NOT NULL'}`;
  }

  #modify(definition: string, when: string): MigrationStep {
    return { sql: `ALTER TABLE ${this.#table} MODIFY ${definition}`, when };
  }

  #update({ value, where }: { readonly value: string; readonly where: string }): string {
    const kept = this.#timestamps
      .map(quotedName)
      .filter((name) => name !== this.#name)
      .map((name) => `, ${name} = ${name}`);
    return `UPDATE ${this.#table} SET ${this.#name} = ${value}${kept.join('')} WHERE ${where}`;
  }
}

/** Whether a column of `information_schema` has neither a default nor ON UPDATE; MariaDB has NULL as text. */
const IS_BARE = "COALESCE(column_default, 'NULL') = 'NULL' AND extra = ''";

/** Whether a column of `information_schema` has a form. */
function hasForm(type: string, collation?: string): string {
  const isOfType = `column_type = ${quotedText(type)}`;
  return collation === undefined
    ? isOfType
    : `(${isOfType} AND collation_name = ${quotedText(collation)})`;
}

/** Whether a text is a float that is the same from fewer digits. */
function isFloat(name: string): string {
  return `IF(${name} REGEXP '^-?[0-9][0-9.e+-]*$', ${isShort(name)}, FALSE)`;
}
