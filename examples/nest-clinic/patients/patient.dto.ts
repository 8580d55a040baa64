import { Type } from 'class-transformer';
import { IsEmail, IsIn, IsInt, IsOptional, IsString, Max, Min } from 'class-validator';

/** What the table of the client shows, and sends back as the column to sort by. */
const COLUMNS = ['name', 'email', 'ssn'] as const;

export class ListPatients {
  @IsOptional() @Type(() => Number) @IsInt() @Min(1) page = 1;
  @IsOptional() @Type(() => Number) @IsInt() @Min(1) @Max(100) take = 20;
  @IsOptional() @IsIn(COLUMNS) sort: (typeof COLUMNS)[number] = 'name';
  @IsOptional() @IsEmail() email?: string;
}

export class CreatePatient {
  @IsString() name!: string;
  @IsEmail() email!: string;
  @IsOptional() @IsString() ssn?: string;
}

export class UpdatePatient {
  @IsOptional() @IsString() name?: string;
  @IsOptional() @IsEmail() email?: string;
  @IsOptional() @IsString() ssn?: string;
}
