import { readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import ts from 'typescript';

const root = join(__dirname, '..', '..');
/** Where the declarations seem to be: beside the sources, the compiler would take those. */
const DECLARATIONS = join(root, '.declarations');

interface Manifest {
  readonly exports: Readonly<Record<string, string | { readonly import: { default: string } }>>;
}

/** What the package exports, entry by entry: the declarations of the compiler, without their comments. */
export function publicApi(): string {
  const declarations = emitDeclarations(entries().map(({ source }) => source));
  const program = programOver(declarations);
  return entries()
    .map(
      ({ name, source }) => `${`# ${name}`.trim()}\n\n${exportsOf(program, source).join('\n\n')}\n`,
    )
    .join('\n');
}

/** The entries of `exports`, with the source of each. */
function entries(): { name: string; source: string }[] {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Manifest;
  return Object.entries(manifest.exports).flatMap(([name, target]) => {
    if (typeof target === 'string') return [];
    const path = target.import.default.replace(/^\.\/dist\//, '').replace(/\.mjs$/, '.ts');
    return [{ name: name.replace(/^\./, 'typeorm-field-encryption'), source: resolve(root, path) }];
  });
}

function emitDeclarations(sources: readonly string[]): ReadonlyMap<string, string> {
  const emitted = new Map<string, string>();
  const options = {
    ...compilerOptions(),
    declaration: true,
    emitDeclarationOnly: true,
    outDir: DECLARATIONS,
  };
  ts.createProgram(sources, options).emit(undefined, (path, text) => {
    emitted.set(resolve(path), text);
  });
  return emitted;
}

/** A program over the declarations, which are in memory. */
function programOver(declarations: ReadonlyMap<string, string>): ts.Program {
  const options = compilerOptions();
  const host = ts.createCompilerHost(options);
  const { fileExists, readFile, getSourceFile } = host;
  host.fileExists = (path) => declarations.has(resolve(path)) || fileExists(path);
  host.directoryExists = () => true;
  host.readFile = (path) => declarations.get(resolve(path)) ?? readFile(path);
  host.getSourceFile = (path, version) => {
    const text = declarations.get(resolve(path));
    return text === undefined
      ? getSourceFile(path, version)
      : ts.createSourceFile(path, text, version, true);
  };
  return ts.createProgram([...declarations.keys()], options, host);
}

function compilerOptions(): ts.CompilerOptions {
  const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), (path) =>
    ts.sys.readFile(path),
  );
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root);
  return { ...options, noEmit: false, rootDir: root, incremental: false };
}

function exportsOf(program: ts.Program, source: string): string[] {
  const checker = program.getTypeChecker();
  const declarations = join(DECLARATIONS, relative(root, source)).replace(/\.ts$/, '.d.ts');
  const file = program.getSourceFile(declarations);
  const module = file && checker.getSymbolAtLocation(file);
  if (module === undefined) throw new Error(`${source} exports nothing.`);
  return checker
    .getExportsOfModule(module)
    .map((symbol) => printed(symbol.name, resolved(checker, symbol)))
    .sort();
}

function resolved(checker: ts.TypeChecker, symbol: ts.Symbol): ts.Symbol {
  return symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
}

function printed(name: string, { declarations = [] }: ts.Symbol): string {
  const printer = ts.createPrinter({ removeComments: true });
  const texts = declarations.map((declaration) => {
    const node = ts.isVariableDeclaration(declaration) ? declaration.parent.parent : declaration;
    return printer.printNode(ts.EmitHint.Unspecified, node, node.getSourceFile());
  });
  return `${name}: ${texts.join('\n')}`.replace(/export |declare /g, '');
}
