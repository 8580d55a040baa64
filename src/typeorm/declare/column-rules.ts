import {
  ArrayNotEmpty,
  ArrayUnique,
  IsArray,
  IsBoolean,
  IsIn,
  IsInt,
  IsObject,
  IsOptional,
  IsString,
  Length,
  Matches,
  Max,
  Min,
  ValidateIf,
} from 'class-validator';

import { ENCRYPTED_TYPES } from './column-options';

/** The rules of the options of an encrypted column. */
export class EncryptedOptionRules {
  @IsOptional() @IsIn(ENCRYPTED_TYPES) type?: unknown;
  @IsOptional() @IsIn(['text', 'binary']) storage?: unknown;
  @IsOptional() @IsBoolean() nullable?: unknown;
  @IsOptional() @IsString() @Length(1, 128) name?: unknown;
  @IsOptional() @IsBoolean() select?: unknown;
  @IsOptional() @IsBoolean() insert?: unknown;
  @IsOptional() @IsBoolean() update?: unknown;
  @IsOptional() @IsString() comment?: unknown;
  @IsOptional() @IsString() @Length(1, 256) id?: unknown;
  @IsOptional() @IsString() @Length(1, 64) key?: unknown;
  @ValidateIf((_, scope) => scope !== undefined && scope !== false)
  @Matches(/^[\w-]{1,32}$/)
  scope?: unknown;
  @IsOptional()
  @IsArray()
  @ArrayNotEmpty()
  @ArrayUnique()
  @IsString({ each: true })
  bindTo?: unknown;
  @IsOptional() @IsIn(['sealed']) read?: unknown;
  @IsOptional() @IsInt() @Min(1) length?: unknown;
  @IsOptional() @IsBoolean() coerce?: unknown;
  @IsOptional() @IsBoolean() check?: unknown;
}

/** The rules of an earlier definition of a blind index. */
export class PreviousIndexRules {
  @IsOptional() normalize?: unknown;
  @IsOptional() @IsInt() @Min(1) @Max(256) bits?: unknown;
}

/** The rules of the options of a blind index. */
export class BlindIndexOptionRules extends PreviousIndexRules {
  @IsOptional() @IsString() @Length(1, 64) name?: unknown;
  @IsOptional() @IsBoolean() unique?: unknown;
  @IsOptional()
  @IsArray()
  @ArrayNotEmpty()
  @ArrayUnique()
  @IsString({ each: true })
  uniqueWith?: unknown;
  @IsOptional() @IsString() @Length(1, 128) columnName?: unknown;
  @IsOptional() @IsIn([false]) scope?: unknown;
  @IsOptional() @IsBoolean() acknowledgeLeakage?: unknown;
  @IsOptional() @IsArray() @IsObject({ each: true }) previous?: unknown;
}
