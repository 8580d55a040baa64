import { createHash } from 'node:crypto';
import { lstat, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { ConfigurationError } from '../errors';
import type { Installation } from '../typeorm/installation/installation';

import { writeEvidenceNote } from './evidence-note';
import type { EvidenceNoteContent } from './evidence-note';

/** Name of the signed note in the folder. */
export const NOTE_FILE = 'report.note';

/** Ends the names of files that are not complete. */
const PART = '.part';

/** The parts of the text of a file. */
export type FileText = Iterable<string> | AsyncIterable<string>;

/** A folder of files with a signed note about them. */
export class EvidenceFolder {
  readonly #path: string;
  /** The names that its files may have, that of the note last. */
  readonly #names: readonly string[];

  private constructor(path: string, names: readonly string[]) {
    this.#path = path;
    this.#names = [...names, NOTE_FILE];
  }

  /**
   * Checks a folder, which need not exist: what cannot be replaced is found before long work.
   *
   * @param names - the names that files in it may have.
   * @throws {@link ConfigurationError}
   */
  static async at(path: string, names: readonly string[]): Promise<EvidenceFolder> {
    if (typeof (path as unknown) !== 'string' || path === '' || path.includes('\0')) {
      throw new ConfigurationError('report: the folder must be a path.');
    }
    const folder = new EvidenceFolder(path, names);
    await folder.#requireFiles();
    return folder;
  }

  /** Writes files and the note in the place of earlier ones. Returns their paths, that of the note last. */
  async replace(
    installation: Installation,
    files: Iterable<readonly [name: string, text: FileText]>,
    about: Omit<EvidenceNoteContent, 'digests'>,
  ): Promise<string[]> {
    await mkdir(this.#path, { recursive: true });
    try {
      const digests: Record<string, string> = {};
      for (const [name, text] of files) digests[name] = await this.#write(name, text);
      await this.#write(NOTE_FILE, [await writeEvidenceNote(installation, { ...about, digests })]);
      return await this.#exchange([...Object.keys(digests), NOTE_FILE]);
    } catch (error) {
      // Earlier files stay as they were.
      for (const name of this.#names) await rm(this.#pathOf(name + PART), { force: true });
      throw error;
    }
  }

  /** Writes a file beside its place, and returns its SHA-256 in hexadecimal. */
  async #write(name: string, text: FileText): Promise<string> {
    const path = this.#pathOf(name + PART);
    const hash = createHash('sha256');
    const noting = async function* (): AsyncGenerator<string> {
      for await (const part of text) {
        hash.update(part);
        yield part;
      }
    };
    // A link that is there already would lead elsewhere.
    await rm(path, { force: true });
    await writeFile(path, noting(), { flag: 'wx' });
    return hash.digest('hex');
  }

  /** Puts complete files in place: the note is to know all that are there. */
  async #exchange(written: readonly string[]): Promise<string[]> {
    for (const name of this.#names) await rm(this.#pathOf(name), { force: true });
    for (const name of written) await rename(this.#pathOf(name + PART), this.#pathOf(name));
    return written.map((name) => this.#pathOf(name));
  }

  async #requireFiles(): Promise<void> {
    for (const name of this.#names.flatMap((file) => [file, file + PART])) {
      const found = await lstat(this.#pathOf(name)).catch(() => undefined);
      if (found?.isDirectory() !== true) continue;
      throw new ConfigurationError(
        `report: ${name} in the folder is a folder itself. Remove it, or write to another one. Nothing was written.`,
      );
    }
  }

  #pathOf(name: string): string {
    return join(this.#path, name);
  }
}
