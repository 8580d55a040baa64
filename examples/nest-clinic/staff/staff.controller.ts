import { Body, Controller, HttpCode, Post } from '@nestjs/common';
import { IsEmail, IsString, MinLength } from 'class-validator';

import { StaffService } from './staff.service.js';

class Credentials {
  @IsEmail() email!: string;
  @IsString() @MinLength(12) password!: string;
}

@Controller()
export class StaffController {
  constructor(private readonly staff: StaffService) {}

  @Post('clinics')
  signUp(@Body() { email, password }: Credentials) {
    return this.staff.signUp(email, password);
  }

  @Post('login')
  @HttpCode(200)
  logIn(@Body() { email, password }: Credentials) {
    return this.staff.logIn(email, password);
  }
}
