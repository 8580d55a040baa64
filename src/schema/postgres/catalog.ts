import type { QueryRunner } from 'typeorm';

/** A column in PostgreSQL's catalog. */
export interface CatalogColumn {
  /** As `ALTER TABLE` takes it, such as `character varying(40)`. */
  readonly type: string;
  /** `S` for text, `A` for an array and so on; see pg_type.typcategory. */
  readonly category: string;
  /** SQL of the default. */
  readonly default: string | null;
}

/** A database object that depends on a column, with the SQL that creates it. */
interface Dependent {
  readonly name: string;
  readonly definition: string;
}

/** An index. */
interface CatalogIndex extends Dependent {
  /** The name for SQL: escaped, with its schema. */
  readonly path: string;
}

/** A constraint; `kind` as in pg_constraint.contype. */
export interface CatalogConstraint extends Dependent {
  readonly kind: 'c' | 'f' | 'p' | 'u' | 'x';
}

/**
 * Fetches a column from the catalog. TypeORM's `getTable` leaves out what it cannot express (indexes on
 * expressions, operator classes, deferrable constraints), and `down` has to restore everything.
 */
export async function catalogColumn(
  runner: QueryRunner,
  table: string,
  column: string,
): Promise<CatalogColumn | undefined> {
  const [found] = (await runner.query(
    `SELECT format_type(a.atttypid, a.atttypmod) AS type, t.typcategory AS category,
            pg_get_expr(d.adbin, d.adrelid) AS "default"
       FROM pg_attribute a
       JOIN pg_type t ON t.oid = a.atttypid
       LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
      WHERE a.attrelid = $1::regclass AND a.attname = $2 AND NOT a.attisdropped`,
    [table, column],
  )) as CatalogColumn[];
  return found;
}

/** Fetches the constraints of a column, except NOT NULL. */
export async function constraintsOn(
  runner: QueryRunner,
  table: string,
  column: string,
): Promise<CatalogConstraint[]> {
  return (await runner.query(
    `SELECT c.conname AS name, c.contype AS kind, pg_get_constraintdef(c.oid) AS definition
       FROM pg_constraint c
       JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)
      WHERE c.conrelid = $1::regclass AND a.attname = $2 AND c.contype IN ('c', 'f', 'p', 'u', 'x')
      ORDER BY c.conname`,
    [table, column],
  )) as CatalogConstraint[];
}

/** Fetches the indexes that include a column or depend on it, except those of constraints. */
export async function indexesOn(
  runner: QueryRunner,
  table: string,
  column: string,
): Promise<CatalogIndex[]> {
  return (await runner.query(
    `SELECT DISTINCT r.relname AS name,
            quote_ident(n.nspname) || '.' || quote_ident(r.relname) AS path,
            pg_get_indexdef(i.indexrelid) AS definition
       FROM pg_depend d
       JOIN pg_index i ON i.indexrelid = d.objid
       JOIN pg_class r ON r.oid = i.indexrelid
       JOIN pg_namespace n ON n.oid = r.relnamespace
       JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
      WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
        AND d.refobjid = $1::regclass AND a.attname = $2
        AND NOT EXISTS (SELECT 1 FROM pg_constraint c
                         WHERE c.conindid = i.indexrelid AND c.conrelid = i.indrelid)
      ORDER BY 1`,
    [table, column],
  )) as CatalogIndex[];
}
